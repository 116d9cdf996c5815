/** A device number of stat() as Linux writes it in sysfs: '7:0'. */
export function deviceNumber (rdev: number): string {
  const major = (rdev >>> 8) & 0xfff
  const minor = (rdev & 0xff) | ((rdev >>> 12) & 0xfff00)
  return `${major}:${minor}`
}
