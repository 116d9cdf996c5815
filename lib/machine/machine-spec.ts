// How a machine is named on a command line and on a control socket.
import { BlockferryError } from '../errors.js'
import { parseHostPort } from '../units.js'
import type { Machine } from './machine.js'
import { qemu } from './qemu.js'
import { xen } from './xen.js'

/** 'qemu:PATH' or 'qemu:HOST:PORT' of QEMU's monitor, 'xen:DOMAIN'. INVALID for anything else. */
export function machineOf (option: string, text: string): Machine {
  const [, kind, where] = /^(\w+):(.+)$/.exec(text) ?? []
  if (kind === 'xen') return xen({ domain: where! })
  if (kind !== 'qemu' || where === undefined) {
    throw new BlockferryError('INVALID', `${option}: must be qemu:PATH, qemu:HOST:PORT or xen:DOMAIN`)
  }
  return qemu({ qmp: where.includes('/') ? where : parseHostPort(option, where) })
}
