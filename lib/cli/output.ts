// Where a command writes: lines for people, or with --json one object a line on stdout.
import type { BlockferryError } from '../base/errors.js'
import { advice } from './advice.js'

export class Output {
  readonly json: boolean

  constructor (json: boolean) {
    this.json = json
    // A reader that has gone (`| head`) must not end a migration.
    process.stdout.on('error', () => {})
    process.stderr.on('error', () => {})
  }

  /** For --json. */
  event (event: { event: string }): void {
    if (this.json) process.stdout.write(`${JSON.stringify(event)}\n`)
  }

  /** A result, for people. */
  line (text: string): void {
    if (!this.json) process.stdout.write(`${text}\n`)
  }

  /** What goes on, for people. */
  note (text: string): void {
    if (!this.json) process.stderr.write(`${text}\n`)
  }

  /** The error and who owns the disks; `told`: its event has been printed already. */
  failed (error: BlockferryError, command: string, told = false): void {
    if (this.json) {
      if (!told) this.event({ event: 'failed', error } as { event: string })
      return
    }
    process.stderr.write(`blockferry: ${error.code}: ${error.message}\n`)
    process.stderr.write(`${advice(error, command)}\n`)
  }
}
