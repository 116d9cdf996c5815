// Peers that speak the protocol and lie: the other side refuses, unharmed.
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

import type { Test } from 'tap'
import t from 'tap'

import type { Receiver } from '../../lib/index.js'
import { migrate, NbdServer, openTap, receive } from '../../lib/index.js'
import { InMemoryMachine } from '../../lib/machine/in-memory.js'
import { makeImage, temporary } from '../../testbed/support/images.js'
import { rawDestination, rawSource } from '../support/raw-peers.js'

/** A source that says this, and at a word among it waits for an answer of that type. The code of its
 * failure. */
async function lyingSource (
  t: Test, address: { host: string, port: number }, messages: ReadonlyArray<object | string>
): Promise<string> {
  const { sender, say, hears } = await rawSource(t, address)
  for (const message of messages) {
    if (typeof message === 'string') await hears(message)
    else say(message)
  }
  const { code } = await hears('failed')
  await sender.close()
  return code
}

const offer = {
  type: 'offer',
  migration: 'm',
  streams: 1,
  equality: true,
  reuse: true,
  machine: null,
  disks: [{ name: 'disk', size: 1 << 20, blockSize: 4096, epoch: 0, places: [] }]
}

const badRanges = [
  { disk: 0, first: 2 ** 40, count: 1000 }, { disk: 7, first: 0, count: 1 }, { disk: 0, first: 0, count: 257 }
]
for (const wrong of badRanges) {
  t.test(`a destination that names blocks ${wrong.disk}:${wrong.first}+${wrong.count}`, async (t) => {
    const liar = await rawDestination((session, message) => {
      if (message.type === 'offer') {
        session.send(JSON.stringify({ type: 'accept', disks: [{ blank: true, separate: true, inventory: false }] }))
        // Again and again, as the source listens for it only when it has set a mark.
        const lie = JSON.stringify({ type: 'verified', mark: 1, wrong: [wrong], tookUs: 1 })
        const timer = setInterval(() => {
          try {
            session.send(lie)
          } catch {
            clearInterval(timer)
          }
        }, 10)
      }
    })
    await using source = await openTap({ source: { memory: '1MiB' } })
    await t.rejects(migrate({ disks: [{ source }], destination: liar.address, streams: 1 }),
      { code: 'PROTOCOL', owner: 'source' })
    t.equal(source.state, 'open')
    await liar.close()
  })
}

t.test('a destination whose messages make no sense', async (t) => {
  for (const text of ['', '{', '[]', '{"type":"none"}', '{"type":"accept"}', '{"type":"accept","disks":[{}]}',
    '{"type":"__proto__"}', '{"type":"verified","mark":-1,"wrong":[],"tookUs":0}']) {
    const liar = await rawDestination((session, message) => {
      if (message.type === 'offer') session.send(text)
    })
    await using source = await openTap({ source: { memory: '1MiB' } })
    await t.rejects(migrate({ disks: [{ source }], destination: liar.address }),
      { code: 'PROTOCOL', owner: 'source' }, text)
    t.equal(source.state, 'open')
    await liar.close()
  }
})

t.test('a source whose messages make no sense', async (t) => {
  const dir = temporary(t)
  await using receiver = await receive({ disks: [{ destination: join(dir, 'target.img') }] })
  const disk = offer.disks[0]!
  const cases: Array<[string, object[], string]> = [
    ['a commit out of nothing', [{ type: 'commit', mark: 1, digests: [] }], 'PROTOCOL'],
    ['an answer as a question', [{ type: 'committed', digests: [] }], 'PROTOCOL'],
    ['no disks', [{ ...offer, disks: [] }], 'PROTOCOL'],
    ['a disk twice', [{ ...offer, disks: [disk, disk] }], 'PROTOCOL'],
    ['a thousand streams', [{ ...offer, streams: 1000 }], 'PROTOCOL'],
    ['blocks of 5 bytes', [{ ...offer, disks: [{ ...disk, blockSize: 5 }] }], 'INVALID'],
    ['an odd size', [{ ...offer, disks: [{ ...disk, size: 1000 }] }], 'BAD_SIZE'],
    ['an absurd size', [{ ...offer, disks: [{ ...disk, size: 2 ** 52 }] }], 'INVALID'],
    ['two offers', [offer, offer], 'PROTOCOL'],
    ['a question about a migration that never was', [{ type: 'query', migration: 'x' }], 'NOT_FOUND']
  ]
  for (const [name, messages, code] of cases) t.equal(await lyingSource(t, receiver.address, messages), code, name)
  const report = await migrate({
    disks: [{ source: makeImage(join(dir, 'source.img'), 4 << 20) }], destination: receiver.address
  })
  t.equal(report.equal, true, 'a good source is served after all that')
})

t.test('memory at the wrong time', async (t) => {
  const [dir, scratch] = [temporary(t), temporary(t)]
  const before = process.env['TMPDIR']
  process.env['TMPDIR'] = scratch // where the socket for the memory is
  t.teardown(() => { if (before === undefined) delete process.env['TMPDIR']; else process.env['TMPDIR'] = before })
  let held = Promise.resolve()
  const network = { prepare: () => held, switchOver: async () => {}, undo: async () => {} }
  const machine = new InMemoryMachine(1 << 20, { running: false })
  const receiver = await receive({ disks: [{ destination: join(dir, 'disk') }], machine, network })
  t.teardown(async () => {
    await receiver.close()
    for (const tap of receiver.taps.values()) await tap.close()
  })
  let release = () => {}
  const memory = { type: 'memory' }
  const withMachine = { ...offer, machine: await new InMemoryMachine(1 << 20).prepare() }
  const cases: Array<[string, Array<object | string>]> = [
    ['before an offer', [memory]],
    ['before the offer is accepted', [withMachine, memory]],
    ['twice', [withMachine, 'accept', memory, 'memoryReady', memory]],
    ['twice at once', [withMachine, 'accept', memory, memory]]
  ]
  for (const [name, messages] of cases) {
    if (name.endsWith('accepted')) held = new Promise((resolve) => { release = resolve })
    t.equal(await lyingSource(t, receiver.address, messages), 'PROTOCOL', name)
    release()
  }
  const from = new InMemoryMachine(1 << 20)
  from.write(7, Buffer.alloc(4096, 7))
  await using source = await openTap({ source: { memory: '1MiB' }, name: 'disk' })
  const report = await migrate({ disks: [{ source }], destination: receiver.address, machine: from })
  await receiver.done
  t.equal(report.equal, true, 'a good source is served after all that')
  t.ok(machine.runs)
  t.ok(from.memory.equals(machine.memory))
  for (let waited = 0; readdirSync(scratch).length > 0 && waited < 5000; waited += 50) await sleep(50)
  t.same(readdirSync(scratch), [], 'no socket is left')
})

t.test('memory that nobody waits for', async (t) => {
  await using receiver = await receive({ disks: [{ destination: join(temporary(t), 'disk') }] })
  t.equal(await lyingSource(t, receiver.address, [offer, 'accept', { type: 'memory' }]), 'PROTOCOL')
})

t.test('probes that make no sense', async (t) => {
  const size = 1 << 20
  const target = makeImage(join(temporary(t), 'disk'), size)
  const probe = (disk: number, ...ranges: object[]) => ({ type: 'probe', disk, ranges })
  const range = { offset: 0, length: 4096 }
  for (const [name, code, said] of [
    ['before the offer', 'PROTOCOL', [probe(0, range)]],
    ['of another disk', 'PROTOCOL', [offer, 'accept', probe(1, range)]],
    ['many at once', 'PROTOCOL', [offer, 'accept', ...Array(200).fill(probe(0, ...Array(64).fill({ offset: 0, length: size })))]],
    ['of too much', 'PROTOCOL', [offer, 'accept', probe(0, { offset: 0, length: size + 1 })]],
    ['too many', 'PROTOCOL', [offer, 'accept', probe(0, ...Array(65).fill(range))]],
    ['behind the end', 'INVALID', [offer, 'accept', probe(0, { offset: size, length: 512 })]]
  ] as const) {
    await using receiver = await receive({ disks: [{ destination: target }] })
    t.equal(await lyingSource(t, receiver.address, said), code, name)
  }
})

/** A source that has sent a mark, and nothing before it; and its commit of a mark. */
async function marked (t: Test, receiver: Receiver, size: number, equality: boolean) {
  const source = await openTap({ source: { memory: size } })
  source.track(4096)
  const { sender, say, hears } = await rawSource(t, receiver.address)
  const disks = [{ ...offer.disks[0], size }]
  say({ ...offer, equality, reuse: false, disks })
  await hears('accept')
  sender.addDisk(source.native, { separate: true })
  await sender.openStreams(1)
  sender.pause(true)
  sender.start()
  sender.mark(1)
  t.match(await hears('verified'), { mark: 1, wrong: [] })
  const commit = (mark: number) => {
    say({ type: 'commit', mark, digests: [sender.digest(0)], run: true })
  }
  const close = async () => {
    await sender.close()
    await source.close()
  }
  return { sender, say, hears, commit, [Symbol.asyncDispose]: close }
}

for (const equality of [true, false]) {
  t.test(`a commit of what was never sent, equality ${equality ? 'asked for' : 'left out'}`, async (t) => {
    const size = 4 << 20
    const target = makeImage(join(temporary(t), 'disk'), size) // of a blank one nothing is missing
    await using receiver = await receive({ disks: [{ destination: target, name: 'disk' }] })
    await using liar = await marked(t, receiver, size, equality)
    liar.commit(1)
    t.match(await liar.hears('notEqual', 'committed'), { type: 'notEqual' })
  })
}

t.test('a commit that is ahead of its mark waits for it', async (t) => {
  await using target = await openTap({ source: { memory: '1MiB' }, name: 'disk' })
  await using receiver = await receive({ disks: [{ destination: target }] })
  await using early = await marked(t, receiver, 1 << 20, false)
  early.commit(2)
  await sleep(300) // for the destination to do what it must not
  t.equal(target.state, 'refusing')
  early.sender.mark(2)
  await early.hears('committed')
  t.equal(target.state, 'open')
  early.say({ type: 'bye' })
})

t.test('a disk that is owned here is not overwritten by another migration', async (t) => {
  await using target = await openTap({ source: { memory: '1MiB' } })
  await using receiver = await receive({ disks: [{ destination: target }] })
  await using first = await openTap({ source: { memory: '1MiB' } })
  await using second = await openTap({ source: { memory: '1MiB' } })
  await migrate({ disks: [{ source: first }], destination: receiver.address })
  t.equal(target.state, 'open')
  await t.rejects(migrate({ disks: [{ source: second }], destination: receiver.address }),
    { code: 'REFUSED', owner: 'source' })
  t.equal(target.state, 'open', 'its writers write on')
  t.equal(second.state, 'open')
})

t.test('an export name that is taken at the destination does not undo the commit', async (t) => {
  await using server = new NbdServer()
  await using other = await openTap({ source: { memory: '1MiB' } })
  server.add(other)
  await using target = await openTap({ source: { memory: '1MiB' } })
  await using receiver = await receive({ disks: [{ destination: target }], serve: server })
  const told: any[] = []
  receiver.on('failed', ({ error }) => told.push(error))
  await using source = await openTap({ source: { memory: '1MiB' } })
  const report = await migrate({ disks: [{ source }], destination: receiver.address })
  t.equal(report.equal, true)
  await receiver.done
  t.match(told, [{ code: 'BUSY', owner: 'destination' }])
})
