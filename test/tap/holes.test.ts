// What a file's holes are taken for, as it was asked for.
import { execFileSync } from 'node:child_process'
import { closeSync, openSync, readSync, statSync, truncateSync, writeSync } from 'node:fs'
import { join } from 'node:path'

import t from 'tap'

import type { Holes } from '../../lib/index.js'
import { migrate, NbdServer, openTap, receive } from '../../lib/index.js'
import { failedOpen } from '../support/failed-open.js'
import { makeImage, temporary } from '../../testbed/support/images.js'
import { failureOf } from '../support/unharmed.js'

const kMiB = 2 ** 20
const kTiB = 2 ** 40

/** Bytes that an NBD client is told to be holes. */
function holesAt (socket: string): number {
  const map = JSON.parse(execFileSync('nbdinfo', ['--map', '--json', `nbd+unix:///web?socket=${socket}`], { encoding: 'utf8' }))
  return map.filter(({ type }: any) => type === 3).reduce((sum: number, { length }: any) => sum + length, 0)
}

for (const [holes, told] of [['trust', 2 * kMiB], ['read', 0]] as Array<[Holes, number]>) {
  t.test(`${holes}: clients hear of ${told} bytes of holes`, async (t) => {
    const dir = temporary(t)
    await using tap = await openTap({ source: makeImage(join(dir, 'a'), 4 * kMiB), name: 'web', holes })
    await using server = new NbdServer()
    server.add(tap)
    await server.listen({ path: join(dir, 's') })
    t.equal(holesAt(join(dir, 's')), told)
  })
}

t.test('what makes no sense is refused', async (t) => {
  const source = makeImage(join(temporary(t), 'a'), 4 * kMiB)
  const some = 'some' as Holes
  t.match(await failedOpen({ source, holes: some }), { code: 'INVALID', message: /holes/ })
  t.match(await failedOpen({ source: { memory: kMiB }, holes: 'read' }), { code: 'INVALID', message: /holes/ })
  const destination = '127.0.0.1:1'
  for (const disk of [{ source, holes: some }, { source, tap: 'bpf' as const, holes: 'read' as const }]) {
    t.match(await failureOf(migrate({ disks: [disk], destination })), { code: 'INVALID', message: /disks\[0\].holes/ })
  }
  t.match(await failureOf(receive({ disks: [{ destination: source, holes: some }] })), { code: 'INVALID', message: /holes/ })
})

function writeAt (path: string, at: number, text: string): void {
  const file = openSync(path, 'r+')
  writeSync(file, text, at)
  closeSync(file)
}

function readAt (path: string, at: number): string {
  const file = openSync(path, 'r')
  const bytes = Buffer.alloc(5)
  readSync(file, bytes, 0, 5, at)
  closeSync(file)
  return bytes.toString()
}

t.test('a disk of 8 TiB with next to nothing in it goes there, and again', async (t) => {
  const dir = temporary(t)
  const [source, target] = [join(dir, 'a'), join(dir, 'b')]
  closeSync(openSync(source, 'w'))
  truncateSync(source, 8 * kTiB)
  writeAt(source, kTiB / 2, 'piece')
  for (const text of ['piece', 'other']) {
    writeAt(source, 5 * kTiB, text)
    await using receiver = await receive({ disks: [{ destination: target, holes: 'trust' }] })
    const { bytes, equal } = await migrate({ disks: [{ source, holes: 'trust' }], destination: receiver.address })
    for (const tap of receiver.taps.values()) await tap.close()
    t.ok(equal)
    t.ok(bytes.sent <= 8192 && bytes.wire < 64 * kMiB)
    t.same([readAt(target, kTiB / 2), readAt(target, 5 * kTiB)], ['piece', text])
    t.ok(statSync(target).blocks < 2 * kMiB / 512)
  }
})
