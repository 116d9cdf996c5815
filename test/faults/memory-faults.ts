// A process with a limit on its memory: so near that the kernel takes pages back all the time, or
// at some moment below what it needs.
import { MemoryGroup } from '../support/memory-group.js'
import type { ProcessFaults } from './process-trial.js'
import { expect } from '../../testbed/faults/verdict.js'

/** More than the process itself takes in a migration, and less than the disk in the page cache. */
const kLittle = 16 * 2 ** 20

export const memoryFaults: ProcessFaults = {
  'short of memory': () => {
    const group = new MemoryGroup()
    return {
      start: group.start,
      isFull: true,
      isHarmless: true,
      begin: () => group.leave(kLittle),
      strike: () => Infinity,
      heal: () => {},
      end: (wrong) => {
        expect(wrong, group.reached > 0, 'it had memory enough')
        group.remove()
      }
    }
  },
  'out of memory': () => {
    const group = new MemoryGroup()
    return {
      start: group.start,
      strike: () => {
        group.exhaust()
        return Infinity
      },
      heal: () => {},
      end: () => group.remove()
    }
  }
}
