// A QEMU without a guest: its firmware finds nothing to start. Enough for all that a migration
// asks of the monitor.

import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'
import { Qmp } from '../../testbed/support/qmp.js'
import { end, hasEnded, start } from '../../testbed/support/process.js'
import { qemu } from '../../testbed/guests/qemu.js'

export interface BareQemu {
  /** For the migration. */
  readonly qmpSocket: string
  /** For the test. */
  readonly monitor: Qmp
  /** It has gone by itself. */
  ended (): Promise<unknown>
}

let started = 0

/** Goes with the test. `options` are QEMU's own; default: a machine with 16 MiB that runs. */
export async function bareQemu (
  t: Test, folder: string, ...options: readonly string[]
): Promise<BareQemu> {
  const { program, args, environment } = await qemu()
  const [qmpSocket, second] = ['qmp', 'monitor'].map((name) => join(folder, `${++started}.${name}`))
  const child = start([
    ...[program, ...args, '-nodefaults', '-no-user-config', '-display', 'none'],
    ...['-machine', 'pc,usb=off', '-accel', 'tcg', '-m', '16', ...options],
    ...[qmpSocket, second].flatMap((path) => ['-qmp', `unix:${path},server=on,wait=off`])
  ], { environment, stdio: ['ignore', 'ignore', 'inherit'] })
  t.teardown(() => end(child))
  while (!existsSync(second!)) {
    if (hasEnded(child)) throw new Error('QEMU did not start')
    await sleep(20)
  }
  const monitor = await Qmp.connect(second!)
  t.teardown(() => monitor.close())
  const ended = async () => { if (!hasEnded(child)) await once(child, 'exit') }
  return { qmpSocket: qmpSocket!, monitor, ended }
}

export const incoming = ['-incoming', 'defer', '-S']

/** 'running', 'paused', 'inmigrate' … */
export async function stateOf (monitor: Qmp): Promise<string> {
  return (await monitor.execute('query-status') as { status: string }).status
}
