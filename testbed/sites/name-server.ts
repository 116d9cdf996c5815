// A real BIND in the name server's network: the zone example.test, which one key may change.
import type { ChildProcess } from 'node:child_process'
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

import { run, tryRun } from '../support/command.js'
import { end, start } from '../support/process.js'
import { kMachine, kName, kNames, type Sites } from './sites.js'

const kZone = `$TTL 3600
@ SOA ns hostmaster 1 3600 600 86400 60
@ NS ns
ns A ${kNames}
www 20 A ${kMachine[4]}
www 20 AAAA ${kMachine[6]}
`

export class NameServer {
  readonly keyFile: string
  /** A key that the server does not know. */
  readonly otherKey: string
  /** One of the right name with another secret. */
  readonly wrongKey: string
  readonly #sites: Sites
  readonly #folder: string
  #child: ChildProcess | null = null

  static async start (sites: Sites, folder: string): Promise<NameServer> {
    const server = new NameServer(sites, join(folder, 'named'))
    await server.#configure()
    await server.start()
    return server
  }

  private constructor (sites: Sites, folder: string) {
    this.#sites = sites
    this.#folder = folder
    this.keyFile = join(folder, 'key')
    this.otherKey = join(folder, 'other-key')
    this.wrongKey = join(folder, 'wrong-key')
  }

  async #configure (): Promise<void> {
    mkdirSync(this.#folder)
    const at = (name: string) => join(this.#folder, name)
    const key = await run('tsig-keygen', 'ferry')
    writeFileSync(this.keyFile, key, { mode: 0o600 })
    writeFileSync(this.otherKey, await run('tsig-keygen', 'stranger'), { mode: 0o600 })
    writeFileSync(this.wrongKey, await run('tsig-keygen', 'ferry'), { mode: 0o600 })
    for (const name of ['zone', 'closed']) writeFileSync(at(name), kZone)
    writeFileSync(at('conf'), `${key}
options {
  directory "${this.#folder}"; pid-file none; recursion no; listen-on { any; }; listen-on-v6 { none; };
  session-keyfile none; dnssec-validation no; notify no;
};
controls {};
zone "example.test" { type primary; file "zone"; allow-update { key ferry; }; };
zone "closed.test" { type primary; file "closed"; };
`)
    chmodSync(this.#folder, 0o755)
  }

  /** Waits until it answers. */
  async start (): Promise<void> {
    const command = ['named', '-g', '-n', '1', '-c', join(this.#folder, 'conf')]
    this.#child = start(command, { namespace: this.#sites.names.name })
    for (let tries = 0; await this.records('A') === ''; tries++) {
      if (tries > 200) throw new Error('named does not answer')
      await sleep(50)
    }
  }

  /** 'TTL ADDRESS', one a line, as the server itself answers. */
  async records (type: 'A' | 'AAAA'): Promise<string> {
    const options = ['+noall', '+answer', '+time=1', '+tries=1', '+norecurse']
    const { names } = this.#sites
    const text = await tryRun('ip', 'netns', 'exec', names.name, 'dig', `@${kNames}`, kName, type, ...options)
    const lines = (text ?? '').split('\n').map((line) => line.split(/\s+/))
    return lines.filter((words) => words[3] === type).map((words) => `${words[1]} ${words[4]}`).join('\n')
  }

  /** Stopped as it is: it takes requests and says nothing. */
  hang (): void {
    this.#child?.kill('SIGSTOP')
  }

  goOn (): void {
    this.#child?.kill('SIGCONT')
  }

  async stop (): Promise<void> {
    if (this.#child !== null) await end(this.#child)
  }
}
