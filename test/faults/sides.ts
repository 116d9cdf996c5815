// Both sides of a trial in processes of their own: the real command line, with journals.
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import type { BlockferryError } from '../../lib/index.js'
import { ControlClient } from '../../lib/control/client.js'
import type { Emit } from '../../lib/control/job.js'
import type { SendRequest } from '../../lib/control/protocol.js'
import { startRemote } from '../../lib/control/remote.js'
import type { TapState } from '../../lib/index.js'
import { CliProcess, type Start } from '../cli/cli-process.js'
import type { Address } from '../../testbed/support/tcp-proxy.js'
import type { Writer } from '../../testbed/support/writer.js'
import type { Side } from '../../testbed/faults/faulty-link.js'
import { startWriter } from '../../testbed/faults/written-disk.js'

const kGapMs = 1

export class Sides implements AsyncDisposable {
  readonly #folder = mkdtempSync(join(tmpdir(), 'bf-'))
  readonly #undo: Array<() => unknown> = []
  readonly #hasMaps: boolean
  readonly #linkTimeout: string

  /** `hasMaps`: what is tracked of a disk outlives the process that serves it. */
  constructor (hasMaps = false, linkTimeout = '1s') {
    this.#hasMaps = hasMaps
    this.#linkTimeout = linkTimeout
  }

  /** A side's file: 'img', 'journal', 'nbd', 'control'. */
  path (side: Side, kind: string): string {
    return join(this.#folder, `${side}.${kind}`)
  }

  /** The kinds of a side's files that there are. */
  left (side: Side): string[] {
    const files = readdirSync(this.#folder).filter((name) => name.startsWith(`${side}.`))
    return files.map((name) => name.slice(side.length + 1)).sort()
  }

  /** This side serves its image. */
  async serve (side: Side, start?: Start): Promise<CliProcess> {
    const process = this.#run([
      'serve', '--disk', `web=${this.path(side, 'img')}`,
      '--listen', `unix:${this.path(side, 'nbd')}`, '--control', this.path(side, 'control'),
      '--journal', this.path(side, 'journal'), '--json',
      ...(this.#hasMaps ? ['--maps', this.#maps(side)] : [])
    ], start)
    await process.event('serving')
    return process
  }

  #maps (side: Side): string {
    const folder = join(this.#folder, `maps-${side}`)
    mkdirSync(folder, { recursive: true })
    return folder
  }

  async writer (side: Side): Promise<Writer> {
    const writer = await startWriter(this.path(side, 'nbd'), kGapMs)
    this.atEnd(() => writer.stop())
    return writer
  }

  /** This side waits for the disk, and ends when it is there. */
  async receive (side: Side, start?: Start): Promise<CliProcess & { address: Address }> {
    const process = this.#run([
      'receive', '--disk', `web=${this.path(side, 'img')}`, '--listen', '127.0.0.1:0',
      '--journal', this.path(side, 'journal'), '--link-timeout', this.#linkTimeout, '--keep-listening', '--json'
    ], start)
    const { host, port } = await process.event('listening')
    return Object.assign(process, { address: { host, port } })
  }

  /** Null: it moved. `unknown` is also the owner when the serve has ended without a word. */
  async send (
    side: Side, to: Address, request: Omit<SendRequest, 'to'>, emit: Emit
  ): Promise<BlockferryError | null> {
    const client = await ControlClient.connect(this.path(side, 'control'))
    const all = { ...request, to: `${to.host}:${to.port}`, linkTimeout: this.#linkTimeout }
    return await startRemote(client, 'send', all, emit).result.then(() => null, (thrown) => thrown)
  }

  /** Of the tap of a side that serves; null: its process is dead. */
  async stateOf (side: Side, { ended }: CliProcess): Promise<TapState | null> {
    try {
      const client = await ControlClient.connect(this.path(side, 'control'))
      const { disks } = await client.request('status', {})
      client.close()
      return disks[0]!.state
    } catch {
      await ended
      return null
    }
  }

  atEnd (undo: () => unknown): void {
    this.#undo.push(undo)
  }

  #run (args: string[], start?: Start): CliProcess {
    return new CliProcess({ teardown: (undo) => this.atEnd(undo) }, args, start)
  }

  async [Symbol.asyncDispose] (): Promise<void> {
    for (const undo of this.#undo.reverse()) await undo()
    rmSync(this.#folder, { recursive: true, force: true })
  }
}
