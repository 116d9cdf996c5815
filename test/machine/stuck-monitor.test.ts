// QEMU gets stuck while a machine is awaited: its monitor answers nobody any more. What waits there
// is given up all the same, soon.
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

import t from 'tap'

import { migrate, openTap, qemu, receive } from '../../lib/index.js'
import { InMemoryMachine } from '../../lib/machine/in-memory.js'
import type { MachineDescription } from '../../lib/machine/machine.js'
import { temporary } from '../../testbed/support/images.js'
import { failureOf } from '../support/unharmed.js'
import { afterHandshake, answer, impostor } from './impostor.js'

const kMemory = 1 << 20
/** A second is what it takes; the rest is generosity. The monitor's own patience is longer. */
const kSoonMs = 7000

const answers: Record<string, unknown> = {
  'query-status': { status: 'inmigrate', running: false },
  'qom-get': 'pc',
  'query-memory-size-summary': { 'base-memory': kMemory },
  'human-monitor-command': '',
  'query-migrate-capabilities': ['events', 'late-block-activate'].map((capability) => (
    { capability, state: false })),
  'migrate-set-capabilities': {}
}

/** It offers itself as one of QEMU's. */
class Lookalike extends InMemoryMachine {
  override async prepare (): Promise<MachineDescription> {
    return { kind: 'qemu', type: 'pc', memory: kMemory }
  }
}

t.test('a monitor that is stuck when its capabilities are to be given back', async (t) => {
  const dir = temporary(t)
  let isStuck = false
  const asked: string[] = []
  const { path, left } = await impostor(t, dir, afterHandshake((socket, command) => {
    if (isStuck) asked.push(command.execute)
    else answer(socket, command, answers[command.execute])
    if (command.execute === 'migrate-set-capabilities') isStuck = true
  }))
  await using receiver = await receive({
    disks: [{ destination: join(dir, 'target') }], machine: qemu({ qmp: path })
  })
  const givenUp = new Promise<string>((resolve) => {
    receiver.on('failed', ({ error }) => resolve(error.code))
  })
  await using source = await openTap({ source: { memory: '1MiB' } })
  const controller = new AbortController()
  const migration = migrate({
    disks: [{ source }],
    destination: receiver.address,
    machine: new Lookalike(kMemory),
    switchover: 'manual',
    signal: controller.signal
  })
  migration.on('started', () => controller.abort())
  t.match(await failureOf(migration), { code: 'CANCELLED', owner: 'source' })
  const late = sleep(kSoonMs, 'too late', { ref: false })
  t.equal(await Promise.race([givenUp, late]), 'CANCELLED')
  await left
  t.same(asked, ['migrate-set-capabilities'], 'it was asked for once')
})
