// What the tests of failures have in common: wait for a moment, read the error, and see that the
// source is as it was.
import { setTimeout as sleep } from 'node:timers/promises'

import type { Test } from 'tap'

import type { BlockferryError, Migration, TlsOptions } from '../../lib/index.js'
import { migrate } from '../../lib/index.js'
import { hashOf } from '../../testbed/support/images.js'
import type { Pair } from './pair.js'
import type { Writer } from '../../testbed/support/writer.js'

export async function failureOf (promise: PromiseLike<unknown>): Promise<BlockferryError> {
  return await promise.then(() => { throw new Error('it should have failed') }, (error) => error)
}

/** Resolves when a migration emits an event that is as described. */
export async function reach (
  migration: Migration, name: string, fits: (event: any) => boolean = () => true
): Promise<void> {
  await new Promise<void>((resolve) => {
    migration.on(name as 'progress', (event) => { if (fits(event)) resolve() })
  })
}

/** A writer that has seen no error writes on. */
export async function writesOn (t: Test, writer: Writer): Promise<void> {
  const { writes } = writer
  while (writer.error === null && writer.writes < writes + 20) await sleep(2)
  t.equal(writer.error, null, 'the writer saw no error and writes on')
}

/** After a failure: the writer writes on at the source, and a second attempt succeeds. */
export async function checkUnharmed (
  t: Test, pair: Pair, writer: Writer, destination = pair.receiver.address, target = pair.target,
  tls?: TlsOptions
): Promise<void> {
  t.equal(pair.source.state, 'open')
  await writesOn(t, writer)
  const report = await migrate({
    disks: [{ source: pair.source }],
    destination,
    ...(tls !== undefined && { tls }),
    machine: { pause: () => writer.pause() }
  })
  await writer.stop()
  t.equal(report.equal, true, 'a second attempt succeeds')
  t.same(writer.lostIn(target), [])
  t.equal(await hashOf(target), await hashOf(pair.image))
}
