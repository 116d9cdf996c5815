// A site's redirect() in its namespace, from the outside.
import type { ChildProcess } from 'node:child_process'
import { createInterface } from 'node:readline'

import { end, start } from '../support/process.js'

interface Line { event?: string, method?: string, error?: { code: string, message: string } | null }

export class Site {
  readonly child: ChildProcess
  readonly lines: Line[] = []
  #wake: Array<() => void> = []
  #isOver = false

  constructor (namespace: string, options: object) {
    const program = new URL('./programs/site.js', import.meta.url).pathname
    this.child = start([process.execPath, program, JSON.stringify(options)], {
      namespace, stdio: ['pipe', 'pipe', 'inherit']
    })
    this.child.stdin!.on('error', () => {})
    createInterface(this.child.stdout!)
      .on('line', (line) => this.#add(JSON.parse(line) as Line))
      .on('close', () => {
        this.#isOver = true
        this.#tell()
      })
  }

  #add (line: Line): void {
    this.lines.push(line)
    this.#tell()
  }

  #tell (): void {
    for (const wake of this.#wake.splice(0)) wake()
  }

  /** The first line for which it holds, from this one on. */
  async line (fits: (line: any) => boolean, from = 0): Promise<any> {
    for (;;) {
      const found = this.lines.slice(from).find(fits)
      if (found !== undefined) return found
      if (this.#isOver) throw new Error(`the site has ended: ${JSON.stringify(this.lines)}`)
      await new Promise<void>((resolve) => { this.#wake.push(resolve) })
    }
  }

  /** The error of a method of redirect(), or null. */
  async call (method: string): Promise<{ code: string, message: string } | null> {
    const from = this.lines.length
    this.child.stdin!.write(`${method}\n`)
    return (await this.line((line) => line.method === method, from)).error
  }

  async event (name: string, fits = (_event: any) => true): Promise<any> {
    return await this.line((line) => line.event === name && fits(line))
  }

  async kill (): Promise<void> {
    await end(this.child)
  }
}
