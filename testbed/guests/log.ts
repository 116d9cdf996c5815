// Whether what the guest acknowledged is on its disk, read from the disk's image.

import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { run } from '../support/command.js'
import { logPath } from './image.js'

/**
 * The records that a client holds an acknowledgement for and that the image's log doesn't hold.
 * The image may come from a guest that was killed; nobody must write to it now. It isn't changed.
 */
export async function lostWrites (
  image: string,
  acknowledged: readonly string[]
): Promise<string[]> {
  const records = new Set(await readLog(image))
  return acknowledged.filter((record) => !records.has(record))
}

/** The log's records in their order. */
export async function readLog (image: string): Promise<string[]> {
  const folder = mkdtempSync(join(dirname(image), 'log-'))
  try {
    const copy = join(folder, 'image')
    const log = join(folder, 'log')
    await run('cp', '--sparse=always', image, copy)
    await replayJournal(copy)
    await run('debugfs', '-R', `dump ${logPath} ${log}`, copy)
    return readFileSync(log, 'utf8').split('\n').slice(0, -1)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

// As the next mount would. The program answers 1 for what it has repaired.
async function replayJournal (image: string): Promise<void> {
  await run('e2fsck', '-y', '-E', 'journal_only', image).catch((error: { code?: number }) => {
    if (error.code !== 1) throw error
  })
}
