// The model itself: a disk with one block per region against a plain set of blocks, and one with
// many blocks per region against its mean.
import t from 'tap'
import { Disk, kBlock } from './disk.js'
import { Random } from '../../testbed/support/random.js'

t.test('bit by bit, it is a dirty map', (t) => {
  const wrong = compare()
  t.equal(wrong, null)
  t.end()
})

/** What went wrong first, or null. */
function compare (): string | null {
  const blocks = 1000
  for (let seed = 1; seed <= 20; seed++) {
    const random = new Random(seed)
    const disk = new Disk(blocks * kBlock, blocks)
    const dirty = new Set(Array.from({ length: blocks }, (_, block) => block))
    const young = new Set<number>()
    let marked = 0
    for (let step = 0; step < 2000; step++) {
      const choice = random.below(10)
      if (choice < 5) {
        const block = random.below(blocks)
        if (!dirty.has(block)) marked++
        dirty.add(block)
        young.add(block)
        disk.scatter(block, 1)
      } else if (choice < 6) {
        young.clear()
        disk.age()
      } else {
        const skipYoung = random.next() < 0.5
        const before = disk.dirtyBytes
        const limit = (1 + random.below(16)) * kBlock
        const { bytes } = disk.claim(limit, skipYoung)
        const claimable = [...dirty].filter((block) => !skipYoung || !young.has(block)).length
        const isRight = bytes <= limit && (bytes === 0) === (claimable === 0) &&
          before - bytes === disk.dirtyBytes
        if (!isRight) {
          return `seed ${seed}, step ${step}: ${bytes} of ${claimable} blocks`
        }
        // The model knows how many, the set which: find out by asking a copy block by block.
        for (const block of taken(disk, dirty)) dirty.delete(block)
      }
      if (disk.dirtyBytes !== dirty.size * kBlock || disk.markedBytes !== marked * kBlock) {
        return `seed ${seed}, step ${step}: ${disk.dirtyBytes / kBlock} dirty, not ${dirty.size}`
      }
    }
  }
  return null
}

function taken (disk: Disk, dirty: Set<number>): number[] {
  return [...dirty].filter((block) => !disk.isDirty(block))
}

t.test('every block is claimed once per pass, in order of the disk', (t) => {
  const disk = new Disk(100 * kBlock, 100)
  let claimed = 0
  let wraps = 0
  for (;;) {
    const { bytes, wrapped } = disk.claim(7 * kBlock, false)
    if (wrapped) wraps++
    if (bytes === 0) break
    claimed += bytes
  }
  t.equal(claimed, 100 * kBlock)
  t.equal(disk.dirtyBytes, 0)
  t.ok(wraps >= 1)
  t.end()
})

t.test('a region of many blocks holds the mean of them', (t) => {
  const blocks = 4096
  const coarse = new Disk(blocks * kBlock, 1)
  while (coarse.claim(blocks * kBlock, false).bytes > 0);
  const random = new Random(7)
  const touched = new Set<number>()
  for (let batch = 0; batch < 30; batch++) {
    coarse.scatter(0, 300)
    for (let write = 0; write < 300; write++) touched.add(random.below(blocks))
  }
  const expected = blocks * (1 - (1 - 1 / blocks) ** 9000)
  t.ok(Math.abs(coarse.dirtyBytes / kBlock - expected) < 1, 'the closed form')
  t.ok(Math.abs(coarse.dirtyBytes / kBlock - touched.size) < 0.02 * blocks, 'a draw')
  t.end()
})
