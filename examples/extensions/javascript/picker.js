// Picks the pod whose turn it is, or refuses where there is none.
import { list } from 'example:gateway/ready-pods@0.1.0';

let turn = 0;

export const upstream = {
  pick(request) {
    const pods = list();
    if (pods.length === 0) throw { status: 503, reason: `no pod is ready for ${request.pathAndQuery}` };
    return pods[turn++ % pods.length].name;
  },
};
