// Numbers for people. Powers of 1000 throughout: what is sent is counted like the link's rate.

/** '612 MB', '4.1 GB'. */
export function formatBytes (bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB', 'PB']
  let unit = 0
  let value = Math.max(0, bytes)
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000
    unit++
  }
  return `${significant(value, unit === 0)} ${units[unit]}`
}

export function formatRate (bytesPerSecond: number): string {
  return `${formatBytes(bytesPerSecond)}/s`
}

/** '0.4 ms', '180 ms', '6.2 s', '3 min 20 s', '2 h 5 min', '3 d 4 h'. */
export function formatTime (ms: number): string {
  if (ms < 999.5) return `${significant(Math.max(0, ms), false)} ms`
  const seconds = ms / 1000
  if (seconds < 59.95) return `${significant(seconds, false)} s`
  const whole = Math.round(seconds)
  if (whole < 3600) return pair(Math.floor(whole / 60), 'min', whole % 60, 's')
  const minutes = Math.round(seconds / 60)
  if (minutes < 1440) return pair(Math.floor(minutes / 60), 'h', minutes % 60, 'min')
  const hours = Math.round(minutes / 60)
  return pair(Math.floor(hours / 24), 'd', hours % 24, 'h')
}

/** '0:42', '3:20', '2:05:00'. */
export function formatClock (ms: number): string {
  const seconds = Math.max(1, Math.round(ms / 1000))
  const two = (value: number) => String(value).padStart(2, '0')
  const hours = Math.floor(seconds / 3600)
  const minutes = Math.floor(seconds / 60) % 60
  const end = two(seconds % 60)
  return hours === 0 ? `${minutes}:${end}` : `${hours}:${two(minutes)}:${end}`
}

function pair (large: number, largeUnit: string, small: number, smallUnit: string): string {
  return small === 0 ? `${large} ${largeUnit}` : `${large} ${largeUnit} ${small} ${smallUnit}`
}

function significant (value: number, isWhole: boolean): string {
  return isWhole || value >= 9.95 || value === 0 ? String(Math.round(value)) : value.toFixed(1)
}
