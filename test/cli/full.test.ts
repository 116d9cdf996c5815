// The destination's disk is full, at once or in the middle of the rounds: a clear error on both
// sides, the writer writes on, and with more room the next attempt goes through.
import type { Test } from 'tap'
import t from 'tap'

import { kNeedsRoot, smallDisk } from '../support/root.js'
import { CliProcess, scratch } from './cli-process.js'
import { areEqual, kMiB, makeImage, nbdUri, qemuIo, Writer } from './disks.js'
import { startSend, startServe } from './proxied.js'

const kDiskMiB = 16

/** The image has content in half of it: 8 MiB. */
async function start (t: Test, room: number) {
  const path = scratch(t)
  makeImage(path('a.img'), kDiskMiB)
  const small = smallDisk(t, path('small'), room)
  const serve = startServe(t, path)
  await serve.event('serving')
  const listen = async () => {
    const receiver = new CliProcess(t, [
      'receive', '--disk', `web=${path('small/b.img')}`, '--listen', '127.0.0.1:0', '--json'
    ])
    return { receiver, port: (await receiver.event('listening')).port }
  }
  return { path, small, serve, listen }
}

type Started = Awaited<ReturnType<typeof start>>

async function checkFull (t: Test, sending: CliProcess, receiver: CliProcess): Promise<void> {
  for (const end of [sending, receiver]) {
    t.equal((await end.ended).code, 1)
    const error = { code: 'NO_SPACE', owner: 'source' }
    t.match(end.events().at(-1), { event: 'failed', error })
  }
}

async function checkNext (t: Test, { path, small, serve, listen }: Started, writer: Writer) {
  await writer.more(50)
  t.notOk(writer.refused, 'the writer saw nothing of it')
  small.grow(2 * kDiskMiB)
  const { receiver, port } = await listen()
  t.equal((await startSend(t, path, port).ended).code, 0)
  t.equal((await receiver.ended).code, 0)
  await writer.stop()
  t.same(writer.lost(path('small/b.img')), [])
  t.ok(areEqual(path('a.img'), path('small/b.img')))
  t.equal(await serve.end(), 0)
}

t.test('in the bulk copy', { skip: kNeedsRoot }, async (t) => {
  const started = await start(t, 4)
  const writer = new Writer(t, nbdUri('web', started.path('a.nbd')), kDiskMiB * kMiB)
  const { receiver, port } = await started.listen()
  await checkFull(t, startSend(t, started.path, port), receiver)
  await checkNext(t, started, writer)
})

t.test('in the rounds', { skip: kNeedsRoot }, async (t) => {
  const started = await start(t, 12)
  const uri = nbdUri('web', started.path('a.nbd'))
  const writer = new Writer(t, uri, kMiB)
  const { receiver, port } = await started.listen()
  const sending = startSend(t, started.path, port, '--switchover', 'manual')
  await sending.event('ready')
  t.ok(qemuIo(uri, 'write -P 1 1M 3M', 'write -P 2 12M 4M'), 'the holes at the source fill')
  await checkFull(t, sending, receiver)
  await checkNext(t, started, writer)
})
