// How a machine is named on a command line and on a control socket.
import { BlockferryError } from '../base/errors.js'
import { parseHostPort } from '../base/units.js'
import type { Machine } from '../machine/machine.js'
import { qemu } from '../machine/qemu.js'
import { xen } from '../machine/xen/xen.js'

/** 'qemu:PATH' or 'qemu:HOST:PORT' of QEMU's monitor, 'xen:DOMAIN'. INVALID for anything else. */
export function machineOf (option: string, text: string): Machine {
  const [, kind, where] = /^(\w+):(.+)$/.exec(text) ?? []
  if (kind === 'xen') return xen({ domain: where! })
  if (kind !== 'qemu' || where === undefined) {
    throw new BlockferryError('INVALID', `${option}: must be qemu:PATH, qemu:HOST:PORT or xen:DOMAIN`)
  }
  return qemu({ qmp: where.includes('/') ? where : parseHostPort(option, where) })
}
