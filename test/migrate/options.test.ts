// Nonsense options: each is named in the message, and nothing has begun.
import t from 'tap'

import { migrate, openTap, receive } from '../../lib/index.js'

const base = { disks: [{ source: '/nowhere/disk' }], destination: '127.0.0.1:1' }
const wrong: Array<[string, object, RegExp]> = [
  ['no disks', { disks: [] }, /disks/],
  ['disks no list', { disks: 'x' }, /disks/],
  ['a disk without source', { disks: [{}] }, /disks\[0\]\.source/],
  ['an empty name', { disks: [{ source: 'a', name: '' }] }, /disks\[0\]\.name/],
  ['a name twice', { disks: [{ source: 'a' }, { source: 'b' }] }, /disks\[1\]\.name/],
  ['a size of a disk with a tap in the kernel', { disks: [{ source: 'a', tap: 'dm', size: 512 }] }, /disks\[0\]\.size/],
  ['a destination without a port', { destination: 'host' }, /destination/],
  ['a port that is none', { destination: { host: 'x', port: -1 } }, /destination/],
  ['an unknown option', { speed: 9 }, /speed/],
  ['an unknown budget', { budgets: { down: 1 } }, /budgets\.down/],
  ['a downtime of nothing', { budgets: { downtime: 0 } }, /budgets\.downtime/],
  ['a bandwidth without a unit', { budgets: { bandwidth: '50' } }, /budgets\.bandwidth/],
  ['a deadline that is no time', { budgets: { deadline: 'soon' } }, /budgets\.deadline/],
  ['a write latency below 0', { budgets: { writeLatency: -1 } }, /budgets\.writeLatency/],
  ['a switchover of its own', { switchover: 'never' }, /switchover/],
  ['a switchover at no date', { switchover: new Date(NaN) }, /switchover/],
  ['a throttle of its own', { throttle: 'brutal' }, /throttle/],
  ['a compression of its own', { compression: 'lzma' }, /compression/],
  ['equality that is no flag', { equality: 'yes' }, /equality/],
  ['a block size that is no power of two', { blockSize: 5000 }, /blockSize/],
  ['a block size that is too small', { blockSize: 512 }, /blockSize/],
  ['a block size that is too large', { blockSize: '2MiB' }, /blockSize/],
  ['no streams', { streams: 0 }, /streams/],
  ['too many streams', { streams: 17 }, /streams/],
  ['a link timeout that is too short', { linkTimeout: '10ms' }, /linkTimeout/],
  ['a machine without methods', { machine: { pause: 5 } }, /machine\.pause/],
  ['a signal that is none', { signal: {} }, /signal/]
]

for (const [name, options, message] of wrong) {
  t.test(`migrate: ${name}`, async (t) => {
    await t.rejects(migrate({ ...base, ...options } as any), { code: 'INVALID', message })
  })
}

t.test('migrate: one tap twice', async (t) => {
  await using tap = await openTap({ source: { memory: '1MiB' } })
  await t.rejects(migrate({ ...base, disks: [{ source: tap, name: 'a' }, { source: tap, name: 'b' }] }),
    { code: 'INVALID', message: /disks/ })
})

const wrongHere: Array<[string, object, RegExp]> = [
  ['no disks', { disks: [] }, /disks/],
  ['a destination that is none', { disks: [{ destination: 7 }] }, /disks\[0\]\.destination/],
  ['an allocate that is no flag', { disks: [{ destination: 'x', allocate: 'yes' }] }, /disks\[0\]\.allocate/],
  ['a listen address that is none', { disks: [{ destination: 'x' }], listen: 'here' }, /listen/],
  ['an unknown option', { disks: [{ destination: 'x' }], port: 5 }, /port/]
]
for (const [name, options, message] of wrongHere) {
  t.test(`receive: ${name}`, async (t) => {
    await t.rejects(receive(options as any), { code: 'INVALID', message })
  })
}

t.test('receive: a port in use', async (t) => {
  await using first = await receive({ disks: [{ destination: '/nowhere/disk' }] })
  await t.rejects(receive({ disks: [{ destination: '/nowhere/disk' }], listen: first.address }),
    { code: 'ADDRESS_IN_USE' })
})
