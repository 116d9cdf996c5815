const kLongestTimer = 2 ** 31 - 1

/** Calls at a date, however far away; the result forgets about it. */
export function atDate (date: Date, call: () => void): () => void {
  let timer: NodeJS.Timeout
  const arm = () => {
    const ms = date.getTime() - Date.now()
    timer = ms > kLongestTimer ? setTimeout(arm, kLongestTimer) : setTimeout(call, Math.max(0, ms))
  }
  arm()
  return () => clearTimeout(timer)
}
