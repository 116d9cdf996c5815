/** Calls `abort` when the signal says so, at once if it has; answers how to stop that. */
export function onAbort (signal: AbortSignal | null, abort: () => void): () => void {
  if (signal?.aborted) abort()
  signal?.addEventListener('abort', abort)
  return () => signal?.removeEventListener('abort', abort)
}
