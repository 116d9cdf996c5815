// Debian packages, downloaded and unpacked into folders of ours. apt gets a list of sources and
// folders of its own, so nothing is installed and the system's configuration is only read.

import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { run } from './command.js'

/** Debian's name for a suite of packages. */
export type Suite = 'bookworm' | 'bookworm-backports'

const suites: Suite[] = ['bookworm', 'bookworm-backports']
const keyring = '/usr/share/keyrings/debian-archive-keyring.gpg'

export class Packages {
  readonly #folder: string
  readonly #options: string[]

  /** Fetches the lists of packages into a new folder under `parent`. Takes some seconds. */
  static async open (parent: string): Promise<Packages> {
    const packages = new Packages(mkdtempSync(join(parent, '.packages-')), await mirror())
    await packages.#apt('apt-get', 'update')
    return packages
  }

  private constructor (folder: string, uri: string) {
    this.#folder = folder
    for (const name of ['lists/partial', 'cache/archives/partial', 'downloads']) {
      mkdirSync(join(folder, name), { recursive: true })
    }
    const list = join(folder, 'sources.list')
    const lines = suites.map((suite) => `deb [signed-by=${keyring}] ${uri} ${suite} main\n`)
    writeFileSync(list, lines.join(''))
    this.#options = [
      `Dir::Etc::sourcelist=${list}`,
      'Dir::Etc::sourceparts=-',
      `Dir::State::lists=${join(folder, 'lists')}`,
      `Dir::Cache=${join(folder, 'cache')}`,
      'Acquire::Retries=3',
      'APT::Update::Error-Mode=any', // else a list that can't be had now is silently left out
      'APT::Sandbox::User=root' // the folder may be one that only its owner can enter
    ].flatMap((option) => ['-o', option])
  }

  /** Downloads packages and unpacks them all into `target`. */
  async unpack (suite: Suite, names: readonly string[], target: string): Promise<void> {
    const downloads = mkdtempSync(join(this.#folder, 'downloads', 'some-'))
    const download = ['download', ...names.map((name) => `${name}/${suite}`)]
    await run('env', '-C', downloads, 'apt-get', ...this.#options, '-q', ...download)
    for (const file of readdirSync(downloads)) {
      await run('dpkg-deb', '--extract', join(downloads, file), target)
    }
    rmSync(downloads, { recursive: true })
  }

  /** The names of what installing a package would add to this system, the package included. */
  async missing (suite: Suite, name: string): Promise<string[]> {
    const install = ['install', '--simulate', '--no-install-recommends', `${name}/${suite}`]
    const plan = await this.#apt('apt-get', '-t', suite, ...install)
    return [...plan.matchAll(/^Inst (\S+)/gm)].map(([, found]) => found as string)
  }

  /** The first package that a package depends on; for those that only name the newest. */
  async dependency (suite: Suite, name: string): Promise<string> {
    const answer = await this.#apt('apt-cache', '-t', suite, 'depends', name)
    const found = /Depends: (\S+)/.exec(answer)?.[1]
    if (found === undefined) throw new Error(`${name} depends on nothing`)
    return found
  }

  close (): void {
    rmSync(this.#folder, { recursive: true, force: true })
  }

  #apt (program: string, ...args: string[]): Promise<string> {
    return run(program, ...this.#options, '-q', ...args)
  }
}

/** Runs `use` with packages that are there until it ends. */
export async function withPackages<T> (
  folder: string,
  use: (packages: Packages) => Promise<T>
): Promise<T> {
  const packages = await Packages.open(folder)
  try {
    return await use(packages)
  } finally {
    packages.close()
  }
}

// Where this system gets its own packages from has the backports too.
async function mirror (): Promise<string> {
  const format = '$(RELEASE) $(COMPONENT) $(REPO_URI)'
  const targets = await run('apt-get', 'indextargets', '--format', format, 'Created-By: Packages')
  const found = /^bookworm main (\S+)$/m.exec(targets)?.[1]
  if (found === undefined) throw new Error('needs a system with the packages of Debian bookworm')
  return found
}
