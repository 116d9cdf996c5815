// What may happen to the disks, by name.
import type { FaultyFile, FaultyOptions } from '../support/faulty-file.js'
import { faultyFile } from '../support/faulty-file.js'
import type { Fault, Faults } from '../../testbed/faults/trial.js'
import type { Way } from '../../testbed/faults/written-disk.js'

type Side = 'source' | 'target'
type What = Parameters<FaultyFile['fail']>[0]

/** `what`: of one side's requests; null: nothing but what the options say. */
function diskFault (side: Side, what: What | null, options: FaultyOptions = {}): Fault {
  const undo: Array<() => unknown> = []
  let file: FaultyFile | undefined
  const faulty = async (image: string): Promise<Way> => {
    file = await faultyFile({ teardown: (body) => undo.push(body) }, image, options)
    return { path: file.path, direct: true }
  }
  const plain = async (path: string): Promise<Way> => ({ path, direct: false })
  return {
    ways: { source: side === 'source' ? faulty : plain, target: side === 'target' ? faulty : plain },
    strike: (_link, random) => {
      if (what !== null) file!.fail(what)
      return random.next() < 0.3 ? Infinity : random.scaleBetween(5, 2500)
    },
    heal: () => file?.mend(),
    end: async () => { for (const body of undo) await body() },
    isSilent: what === 'lies',
    // A disk that takes ms for a block is too slow for a writer as busy as the usual one.
    gapMs: 20,
    budgets: { downtime: '1s', deadline: '20s' }
  }
}

export const diskFaults: Faults = {
  'the source cannot be read': () => diskFault('source', 'reads'),
  'the source is slow': () => diskFault('source', null, { delayMs: 3 }),
  'the destination cannot be written': () => diskFault('target', 'writes'),
  'the destination is full': () => diskFault('target', 'writes', { writeError: 'ENOSPC' }),
  'the destination cannot be read': () => diskFault('target', 'reads'),
  'the destination is slow': () => diskFault('target', null, { delayMs: 3 }),
  'the destination lies about its writes': () => diskFault('target', 'lies', { lies: true })
}
