// Picks the pod whose turn it is, or refuses where there is none.
import { generation, list } from 'example:gateway/ready-pods@0.1.0';

let turn = 0;

// A sandbox that is used again asks for the list only when it has changed: of many pods, that is most of a call.
let known;

function names() {
  const now = generation();
  if (known?.generation !== now) known = { generation: now, names: list().map((pod) => pod.name) };
  return known.names;
}

export const upstream = {
  pick(request) {
    const pods = names();
    if (pods.length === 0) throw { status: 503, reason: `no pod is ready for ${request.pathAndQuery}` };
    return pods[turn++ % pods.length];
  },
};
