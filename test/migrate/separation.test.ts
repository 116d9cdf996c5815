// What three looks would take for another disk, by chance: real storage shows that too seldom.
import t from 'tap'

import { Separation } from '../../lib/source/separation.js'
import type { SourceLink } from '../../lib/source/link.js'
import type { ByteRange } from '../../lib/native/types.js'
import type { Tap } from '../../lib/tap/tap.js'

const kSize = 1 << 20

/** Two sides of which `hash` tells what they hold in which look; `writes`: in each. */
function sides (hash: (look: number, side: 'ours' | 'theirs') => string, writes: number, answers = true) {
  let looks = 0
  const all = (ranges: readonly ByteRange[], side: 'ours' | 'theirs') => ranges.map(() => hash(looks, side))
  const tap = {
    name: 'web', kind: 'nbd', size: kSize, flush: async () => { looks++ }, stats: () => ({ writes: looks * writes }),
    native: { recent: () => [0], hashes: async (ranges: readonly ByteRange[]) => all(ranges, 'ours') }
  } as unknown as Tap
  const shown: number[] = []
  const link = {
    failed: new Promise<never>(() => {}),
    ask: async (_type: string, { ranges }: { ranges: readonly ByteRange[] }) => (
      answers ? { hashes: all(ranges, 'theirs') } : await new Promise<never>(() => {})),
    sender: { separate: (disk: number) => shown.push(disk) },
    overwrites: (_where: { disk: number, offset: number }) => {}
  } as unknown as SourceLink
  const options = { blockSize: 4096, linkTimeoutMs: 1000 }
  const separation = new Separation(link, [tap], options, [{ blank: false, separate: false, inventory: false }])
  link.overwrites({ disk: 0, offset: 0 })
  return { separation, shown }
}

t.test('a block that goes back and forth just between the looks', async (t) => {
  const { separation, shown } = sides((look, side) => look <= 3 && side === 'theirs' ? 'a' : 'b', 1)
  await t.rejects(separation.prove(), { code: 'REFUSED' })
  t.same(shown, [])
})

t.test('a block that goes back and forth here only', async (t) => {
  const { separation, shown } = sides((look, side) => side === 'theirs' || look % 2 === 0 ? 'a' : 'b', 1)
  await separation.prove()
  t.same(shown, [0])
})

t.test('a block that differs, and is written all the time', async (t) => {
  const { separation, shown } = sides((look, side) => side === 'theirs' ? 'a' : `b${look}`, 1)
  await separation.prove()
  t.same(shown, [0])
})

t.test('one that comes there as it comes here', async (t) => {
  const { separation } = sides((look) => `${look}`, 1)
  await t.rejects(separation.prove(), { code: 'REFUSED', message: /changes with the writes here/ })
})

t.test('what can not be read there shows nothing', async (t) => {
  const { separation } = sides((_look, side) => side === 'theirs' ? '' : 'b', 0)
  await t.rejects(separation.prove(), { code: 'REFUSED' })
})

t.test('a destination that never tells', async (t) => {
  const { setTimeout } = globalThis
  t.teardown(() => { globalThis.setTimeout = setTimeout })
  globalThis.setTimeout = ((then: () => void, ms: number) => setTimeout(then, ms / 1000)) as typeof setTimeout
  const { separation, shown } = sides(() => 'a', 0, false)
  await t.rejects(separation.prove(), { code: 'TIMEOUT' })
  t.same(shown, [])
})
