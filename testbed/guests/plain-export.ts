// An image file as an NBD export that nobody taps.

import { existsSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { end, hasEnded, start } from '../support/process.js'

export interface PlainExport {
  /** Ends the server; what it acknowledged is in the file. */
  close(): Promise<void>
}

/** Serves a raw image on a Unix socket as 'disk', to this many clients at a time. Default: 1. */
export async function exportPlainly (
  image: string,
  socket: string,
  clients = 1
): Promise<PlainExport> {
  const options = ['--persistent', '--format=raw', '--discard=unmap', `--shared=${clients}`]
  const command = ['qemu-nbd', ...options, '--export-name=disk', `--socket=${socket}`, image]
  const child = start(command, { stdio: ['ignore', 'ignore', 'inherit'] })
  while (!existsSync(socket)) {
    if (child.pid === undefined || hasEnded(child)) throw new Error('qemu-nbd did not start')
    await sleep(20)
  }
  return { close: () => end(child, 'SIGTERM') }
}
