// A move with the domain stopped for all of its memory, by `xl save -p` and `xl restore -p`: for
// hypervisors that can't tell which memory was written. The source's domain stays paused behind it,
// which an operator can undo as well.
import { execFileSync } from 'node:child_process'
import { createReadStream, createWriteStream, existsSync } from 'node:fs'
import type { Server } from 'node:net'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'

import { DomainWatch } from './domain-watch.js'
import { Program } from './program.js'
import { freePipe, makeFolder, removeFolder } from './temporary-folder.js'
import type { DestinationTransfer, SourceTransfer } from './transfer.js'
import { findDomain, refuse, untilRuns, xl } from './xl.js'

/** xl wants a file, and one that is no socket. */
class NamedPipe {
  readonly #folder = makeFolder()
  readonly path = join(this.#folder, 'memory')

  constructor () {
    execFileSync('mkfifo', ['-m', '600', this.path])
  }

  free (): void {
    if (existsSync(this.path)) freePipe(this.path)
  }

  remove (): void {
    this.free()
    removeFolder(this.#folder)
  }
}

export class ColdSource implements SourceTransfer {
  readonly #name: string
  #program: Program | null = null
  #pipe: NamedPipe | null = null
  #sent = 0
  #stop = new AbortController()
  #copied: Promise<unknown> = Promise.resolve()
  #failed: (words: string) => void = () => {}
  readonly failed = new Promise<string>((resolve) => { this.#failed = resolve })

  constructor (name: string) {
    this.#name = name
  }

  async start (socket: string): Promise<void> {
    const pipe = this.#pipe = new NamedPipe()
    const program = this.#program = new Program('xl', ['save', '-p', this.#name, pipe.path])
    const from = createReadStream(pipe.path)
    from.on('data', (bytes) => { this.#sent += bytes.length })
    this.#copied = pipeline(from, connect(socket), { signal: this.#stop.signal })
    this.#copied.catch((error: Error) => this.#failed(error.message))
    void program.ended.then((code) => {
      pipe.free()
      if (code !== 0) this.#failed(program.words())
    })
  }

  async sent (): Promise<number> {
    return this.#sent
  }

  async handOver (): Promise<void> {
    const [code] = await Promise.all([this.#program!.ended, this.#copied])
    if (code !== 0) throw refuse(`xl save: ${this.#program!.words()}`)
  }

  /** xl lets it run again by itself when it can't save it. */
  async undo (): Promise<void> {
    this.#stop.abort()
    await this.#program?.ended
    const domain = await findDomain(this.#name)
    if (domain?.state.includes('p') === true) await xl('unpause', this.#name)
    await untilRuns(this.#name)
  }

  async release (): Promise<void> {
    const domain = await findDomain(this.#name)
    if (domain?.state.includes('p') === true) await xl('destroy', this.#name)
  }

  close (): void {
    this.#pipe?.remove()
    this.#program?.close()
  }
}

export class ColdDestination implements DestinationTransfer {
  readonly #name: string
  #program: Program | null = null
  #pipe: NamedPipe | null = null
  #watch: DomainWatch | null = null
  #server: Server | null = null

  constructor (name: string) {
    this.#name = name
  }

  async start (socket: string): Promise<void> {
    const pipe = this.#pipe = new NamedPipe()
    const program = this.#program = new Program('xl', ['restore', '-p', pipe.path])
    void program.ended.then(() => pipe.free())
    const server = this.#server = createServer((peer) => {
      server.close()
      if (program.isOver) peer.destroy()
      else pipeline(peer, createWriteStream(pipe.path)).catch(() => {})
    })
    await new Promise<void>((resolve) => { server.listen(socket, resolve) })
  }

  async untilHere (): Promise<void> {
    const code = await this.#program!.ended
    const domain = code === 0 ? await findDomain(this.#name) : null
    if (domain === null) throw refuse(`xl restore: ${this.#program!.words()}`)
    this.#watch = new DomainWatch(domain.id, false)
  }

  async untilLost (): Promise<void> {
    await this.#watch!.gone()
  }

  async go (): Promise<void> {
    await xl('unpause', this.#name)
  }

  async undo (): Promise<void> {
    this.#program?.kill()
    await this.#program?.ended
    const domain = await findDomain(this.#name)
    if (domain?.state.includes('p') === true) await xl('destroy', this.#name)
  }

  close (): void {
    this.#watch?.close()
    this.#server?.close()
    this.#pipe?.remove()
    this.#program?.close()
  }
}
