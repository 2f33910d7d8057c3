// Picks the pods in turn, or refuses the request if no pod is ready.
import { generation, list } from 'example:gateway/ready-pods@0.1.0';

let turn = 0;

// A warm sandbox asks for the list only when it has changed: with many pods, the list takes most of the time of a call.
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
    return { pods: [pods[turn++ % pods.length]], setHeaders: [] };
  },
};
