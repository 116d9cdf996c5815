import { existsSync, readFileSync, realpathSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'

import { deviceNumber } from '../../base/device-number.js'

/** Of the whole disk that a block device is, or is a part of, like '7:0'. Limits hold for that. */
export function diskNumber (device: string): string {
  const folder = realpathSync(`/sys/dev/block/${deviceNumber(statSync(device).rdev)}`)
  const disk = existsSync(join(folder, 'partition')) ? dirname(folder) : folder
  return readFileSync(join(disk, 'dev'), 'utf8').trim()
}
