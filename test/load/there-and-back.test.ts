// A disk moves there and back a hundred times under its writer: nothing is lost, nothing leaks.
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

import t from 'tap'

import { temporary } from '../../testbed/support/images.js'
import type { Moved } from './programs/there-and-back.js'

const program = new URL('./programs/there-and-back.js', import.meta.url).pathname

t.test('a hundred times there and back', async (t) => {
  // What is kept free, by the allocator for each thread and by the JavaScript heap, is no leak.
  const env = { ...process.env, MALLOC_ARENA_MAX: '1' }
  const { stdout } = await promisify(execFile)(
    process.execPath, ['--expose-gc', program, temporary(t)], { env })
  const { lost, wrong, warm, after }: Moved = JSON.parse(stdout)
  t.same(wrong, [], 'equal each time')
  t.equal(lost, 0, 'no acknowledged write is lost')
  t.ok(after.descriptors <= warm.descriptors + 4,
    `descriptors: ${warm.descriptors}, then ${after.descriptors}`)
  t.ok(after.threads <= warm.threads + 4, `threads: ${warm.threads}, then ${after.threads}`)
  const grown = (after.memory - warm.memory) / 2 ** 20
  t.ok(grown < 64, `memory: ${grown.toFixed(1)} MiB more; one extent a move would be 160`)
})
