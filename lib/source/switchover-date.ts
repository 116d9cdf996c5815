/** How long a clock that was set may go unnoticed. */
const kLookMs = 1000

/** Calls when the wall clock shows a date, however far away and however it is set meanwhile; the
 * result forgets about it. */
export function atDate (date: Date, call: () => void): () => void {
  const look = () => {
    const ms = date.getTime() - Date.now()
    if (ms <= 0) call()
    else timer = setTimeout(look, Math.min(ms, kLookMs))
  }
  let timer = setTimeout(look, 0)
  return () => clearTimeout(timer)
}
