// A device of device-mapper that takes its time for writes.

import { dmsetup } from '../../../testbed/xen/programs/guest-disk.js'

/** `path`: of a device that is one of the target 'delay' on another. */
export function setDelay (path: string, milliseconds: number): void {
  const name = path.slice('/dev/mapper/'.length)
  const [start, sectors, , on, offset] = dmsetup('table', name).split(' ')
  const write = `${on} ${offset} ${milliseconds}`
  dmsetup('reload', name, '--table', `${start} ${sectors} delay ${on} ${offset} 0 ${write}`)
  dmsetup('resume', name)
}
