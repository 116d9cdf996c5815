// The writer's NBD clients: qemu-io where it is installed, else the library's own.
import type { ChildProcess } from 'node:child_process'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

import { NbdClient } from '../../lib/index.js'

export interface Client {
  /** Resolves when the server has acknowledged it. */
  write: (offset: number, data: Buffer) => Promise<void>
  close: () => Promise<void>
}

export function hasQemuIo (): boolean {
  return spawnSync('qemu-io', ['--version'], { stdio: 'ignore' }).status === 0
}

export async function openClient (socket: string, exportName: string): Promise<Client> {
  if (hasQemuIo()) return new QemuIo(socket, exportName)
  const client = await NbdClient.open({ path: socket, exportName })
  return {
    write: async (offset, data) => await client.write(offset, data),
    close: async () => await client.disconnect()
  }
}

/** One write at a time; the data goes to qemu-io in a file beside the socket. */
class QemuIo implements Client {
  readonly #record: string
  readonly #child: ChildProcess
  #answer: (line: string) => void = () => {}

  constructor (socket: string, exportName: string) {
    const folder = dirname(socket)
    this.#record = join(folder, 'record')
    const uri = `nbd+unix:///${exportName}?socket=${socket}`
    this.#child = spawn('qemu-io', ['-f', 'raw', uri], { cwd: folder, stdio: 'pipe' })
    this.#child.stdin!.on('error', () => {})
    this.#child.on('error', (error) => this.#answer(error.message))
    this.#child.on('close', () => this.#answer('qemu-io has ended'))
    this.#listen()
  }

  async write (offset: number, data: Buffer): Promise<void> {
    writeFileSync(this.#record, data)
    const answer = new Promise<string>((resolve) => { this.#answer = resolve })
    this.#child.stdin!.write(`write -s record ${offset} ${data.length}\n`)
    const line = this.#child.exitCode === null ? await answer : 'qemu-io has ended'
    if (!line.includes(`wrote ${data.length}/${data.length}`)) throw new Error(line)
  }

  async close (): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    this.#child.stdin!.end('quit\n')
    await once(this.#child, 'close')
  }

  #listen (): void {
    let text = ''
    const onText = (more: string) => {
      text += more
      for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n')) {
        const line = text.slice(0, end)
        text = text.slice(end + 1)
        if (/wrote|failed|error/i.test(line)) this.#answer(line)
      }
    }
    this.#child.stdout!.setEncoding('utf8').on('data', onText)
    this.#child.stderr!.setEncoding('utf8').on('data', onText)
  }
}
