// What the client's failures are to a program: an Error with its case, a text, and whether another attempt may succeed.

const RETRYABLE = new Set(['name-not-resolved', 'connection-refused', 'unreachable', 'timeout', 'connection-lost']);

export class KubernetesError extends Error {
  /** @param failure what the client throws: the payload is `failure` of incluster:kubernetes/types, or its `config-error` */
  constructor(doing, { payload }) {
    const error = payload?.error ?? { tag: 'config', val: payload };
    const { kind, text, retryable } = describe(error);
    const tried = payload?.attempts > 1 ? ` (tried ${payload.attempts} times in ${payload.elapsed} ms)` : '';
    super(`failed to ${doing}: ${kind}: ${text}${tried}`);
    this.name = 'KubernetesError';
    Object.assign(this, { kind, retryable, failure: payload });
  }
}

function describe({ tag, val }) {
  switch (tag) {
    case 'api':
      return { kind: val.reason ?? `HTTP ${val.code}`, text: val.message, retryable: val.code === 429 || [500, 502, 503, 504].includes(val.code) };
    case 'transport':
      return { kind: val.tag, text: val.val, retryable: RETRYABLE.has(val.tag) };
    case 'config':
      return { kind: val.tag, text: JSON.stringify(val.val), retryable: false };
    case 'expired':
      return { kind: 'expired', text: val.message, retryable: false };
    default:
      return { kind: tag, text: val, retryable: false };
  }
}

/** Calls the client, and makes an error of what it throws. */
export function asking(doing, ask) {
  try {
    return ask();
  } catch (error) {
    throw error.payload === undefined ? error : new KubernetesError(doing, error);
  }
}
