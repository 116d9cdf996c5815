// A Xen domain as the migration sees it, with programs that stand in for Xen's. The real ones are in
// test/xen.
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'

import type { Test } from 'tap'
import t from 'tap'

import { noise, temporary } from '../../testbed/support/images.js'
import { kNeedsRoot } from '../support/root.js'

const kToolstack = new URL('toolstack.js', import.meta.url).pathname
const kCli = new URL('../../lib/cli.js', import.meta.url).pathname
const kSide = new URL('xen-side.js', import.meta.url).pathname
const kDisk = 4 << 20
const kMemory = 'memory '.repeat(100_000)

interface Host { folder: string, disk: string, journal: string, env: NodeJS.ProcessEnv }

function hostOf (dir: string, name: string, env: NodeJS.ProcessEnv): Host {
  const folder = join(dir, name)
  mkdirSync(join(folder, 'run'), { recursive: true })
  return {
    folder,
    disk: join(folder, 'disk'),
    journal: join(folder, 'journal'),
    env: { ...env, XEN_HOST: folder }
  }
}

/** Two hosts; a domain with a disk runs on the first. */
function hosts (t: Test, settings: object = {}) {
  const dir = temporary(t)
  const bin = join(dir, 'bin')
  mkdirSync(bin)
  for (const program of ['xl', 'xenstore-ls', 'xenstore-watch']) {
    const script = `#!/bin/sh\nexec '${process.execPath}' '${kToolstack}' ${program} "$@"\n`
    writeFileSync(join(bin, program), script, { mode: 0o755 })
  }
  const env = { ...process.env, PATH: `${bin}:${process.env['PATH']}`, TMPDIR: dir }
  const [here, there] = [hostOf(dir, 'here', env), hostOf(dir, 'there', env)]
  for (const { folder } of [here, there]) writeFileSync(join(folder, 'settings'), JSON.stringify(settings))
  writeFileSync(here.disk, noise(1, kDisk))
  writeFileSync(there.disk, Buffer.alloc(kDisk))
  put(here, 'web', { id: 3, state: 'running', memory: kMemory })
  return { here, there, dir }
}

/** A host has a /run of its own. */
function within ({ folder }: Host, args: readonly string[]): string[] {
  const script = 'mkdir -p /run/blockferry; mount --bind "$0" /run/blockferry; exec "$@"'
  return ['unshare', ['--mount', 'sh', '-c', script, join(folder, 'run'), process.execPath, ...args]].flat()
}

function put ({ folder }: Host, name: string, domain: object): void {
  writeFileSync(join(folder, `domain-${name}`), JSON.stringify(domain))
}

/** The domains of a host that are there, with what they do. */
function domains ({ folder }: Host): Record<string, string> {
  const found = readdirSync(folder).filter((name) => /^domain-[^~]+$/.test(name))
  return Object.fromEntries(found.map((name) => (
    [name.slice('domain-'.length), JSON.parse(readFileSync(join(folder, name), 'utf8')).state])))
}

/** A process, and what it says. */
function side (t: Test, role: 'source' | 'destination', host: Host, options: object = {}) {
  const { disk, journal, env } = host
  const [program, ...args] = within(host, [kSide, role, JSON.stringify({ disk, journal, ...options })])
  const child = spawn(program!, args, { env, stdio: ['ignore', 'pipe', 'inherit'] })
  const ended = once(child, 'exit')
  const lines: string[] = []
  const closed = once(createInterface(child.stdout).on('line', (line) => lines.push(line)), 'close')
  const kill = async () => {
    child.kill('SIGKILL')
    await ended
  }
  t.teardown(kill)
  const said = async (word: string): Promise<string> => {
    for (;;) {
      const line = lines.find((line) => line.startsWith(word))
      if (line !== undefined) return line
      if (child.exitCode !== null || child.signalCode !== null) throw new Error(`it ended with: ${lines.join('; ')}`)
      await sleep(10)
    }
  }
  return { kill, said, ended: Promise.all([ended, closed]), lines }
}

async function start (t: Test, { here, there }: ReturnType<typeof hosts>, options: object = {}) {
  const destination = side(t, 'destination', there)
  const port = Number((await destination.said('port')).split(' ')[1])
  return { destination, source: side(t, 'source', here, { port, ...options }) }
}

const skip = kNeedsRoot // its sockets are in /run
for (const [way, caps, memory] of [['live', 'pv hap shadow', 'auto'], ['cold', 'pv', 'auto'], ['cold', 'hap', 'cold']] as const) {
  t.test(`${way}: with ${caps}, ${memory} wanted`, { skip }, async (t) => {
    const both = hosts(t, { caps })
    const { source, destination } = await start(t, both, { memory })
    await source.ended
    t.same(source.lines.at(-1), `moved ${way}`)
    await destination.said('done')
    t.same([domains(both.here), domains(both.there)], [{}, { web: 'running' }])
    t.equal(JSON.parse(readFileSync(join(both.there.folder, 'domain-web'), 'utf8')).memory, kMemory)
    t.ok(readFileSync(both.here.disk).equals(readFileSync(both.there.disk)), 'equal, byte by byte')
  })
}

const kRunning = { id: 3, state: 'running', memory: kMemory }
type Both = ReturnType<typeof hosts>
const kRefused: Record<string, { settings?: object, change?: (both: Both) => void, words: RegExp }> = {
  'it is not there': {
    change: ({ here }) => rmSync(join(here.folder, 'domain-web')),
    words: /there is no web/
  },
  'it is paused': {
    change: ({ here }) => put(here, 'web', { ...kRunning, state: 'paused' }),
    words: /web does not run: its state is --p---/
  },
  'it has no disk': { settings: { disks: 0 }, words: /it has no disk/ },
  'QEMU serves its disk': { settings: { backend: 'qdisk' }, words: /give QEMU an nbd tap/ },
  'another kind of disk': { settings: { backend: 'vscsi' }, words: /not served by the kernel/ },
  'there is one of the name': {
    change: ({ there }) => put(there, 'web', kRunning),
    words: /there is a web at the destination already/
  },
  'an earlier move of it was left here': {
    change: ({ here }) => put(here, 'web--migratedaway', { ...kRunning, id: 4, state: 'suspended' }),
    words: /an earlier move of web is not over: blockferry recover --machine xen:web/
  },
  'an earlier move of it was left there': {
    change: ({ there }) => put(there, 'web--incoming', { ...kRunning, state: 'paused' }),
    words: /an earlier move of web is not over/
  },
  'there is too little memory': { settings: { free: 63 }, words: /67108864 bytes of memory, at the destination 66060288 are free/ },
  'this is no Xen host': {
    change: ({ here }) => { here.env['PATH'] = '/usr/bin:/bin' },
    words: /no xl here/
  }
}

for (const [what, { settings, change, words }] of Object.entries(kRefused)) {
  t.test(`refused: ${what}`, { skip }, async (t) => {
    const both = hosts(t, settings)
    change?.(both)
    const before = domains(both.here)
    const { source } = await start(t, both)
    await source.ended
    t.match(source.lines.at(-1), /^failed MACHINE source/)
    t.match(source.lines.at(-1), words)
    t.same(domains(both.here), before, 'it is as it was')
  })
}

t.test('memory that xl would take from its host is none that is missing', { skip }, async (t) => {
  const { source } = await start(t, hosts(t, { free: 63, commandLine: '' }))
  await source.ended
  t.equal(source.lines.at(-1), 'moved live')
})

t.test('xenstored says nothing: it is seen all the same', { skip }, async (t) => {
  const { source } = await start(t, hosts(t, { events: false }))
  await source.ended
  t.equal(source.lines.at(-1), 'moved live')
})

t.test('live is wanted, and can not be had', { skip }, async (t) => {
  const { source } = await start(t, hosts(t, { caps: 'pv' }), { memory: 'live' })
  await source.ended
  t.match(source.lines.at(-1), /can't move a pvh domain live/)
})

t.test('it dies while its memory is sent', { skip }, async (t) => {
  const both = hosts(t)
  writeFileSync(join(both.here.folder, 'hold-memory'), '')
  const { source } = await start(t, both)
  while (!existsSync(join(both.here.folder, 'at-memory'))) await sleep(20)
  rmSync(join(both.here.folder, 'domain-web'))
  rmSync(join(both.here.folder, 'hold-memory'))
  await source.ended
  t.match(source.lines.at(-1), /^failed MACHINE source/)
  while (Object.keys(domains(both.there)).length > 0) await sleep(20)
})

for (const memory of ['live', 'cold']) {
  t.test(`${memory}: the other host's hypervisor refuses it`, { skip }, async (t) => {
    const both = hosts(t)
    const refusal = 'xc: error: CPUID policies: leaf 0x7 is not compatible: Internal error'
    writeFileSync(join(both.there.folder, 'settings'), JSON.stringify({ refusal }))
    const { source, destination } = await start(t, both, { memory })
    t.match(await destination.said('failed'), /^failed MACHINE .*CPUID policies/)
    await source.ended
    t.match(source.lines.at(-1), /^failed MACHINE source/)
    t.same([domains(both.here), domains(both.there)], [{ web: 'running' }, {}], 'it goes on')
  })
}

t.test('killed before its memory was handed over: it goes on by itself, with its disk', { skip }, async (t) => {
  const both = hosts(t)
  const hold = join(both.there.folder, 'hold-ready')
  writeFileSync(hold, '')
  const { source, destination } = await start(t, both, { linkTimeout: '1s' })
  await source.said('residual')
  t.same(domains(both.here), { web: 'suspended' })
  await source.kill()
  while (domains(both.here)['web'] !== 'running') await sleep(20)
  rmSync(hold)
  await destination.said('failed')
  await destination.kill()
  t.equal((await recover(both.here, '--no-ask'))!.code, 0, 'nobody has to be asked whose the disk is')
  t.same([domains(both.here), domains(both.there)], [{ web: 'running' }, {}])
})

t.test('folders of a process that was killed go with the next move', { skip }, async (t) => {
  const both = hosts(t)
  const folders = () => readdirSync(both.dir).filter((name) => name.startsWith('blockferry-xen-'))
  writeFileSync(join(both.here.folder, 'hold-memory'), '')
  const { source, destination } = await start(t, both, { memory: 'cold' })
  while (domains(both.here)['web'] !== 'suspended') await sleep(20)
  await source.kill()
  await destination.kill()
  t.ok(folders().length > 0, 'they are there')
  rmSync(join(both.here.folder, 'hold-memory'))
  while (domains(both.here)['web'] !== 'running') await sleep(20)
  const again = await start(t, both, { memory: 'cold' })
  await again.source.ended
  await again.destination.said('done')
  t.equal(again.source.lines.at(-1), 'moved cold')
  t.same(folders(), [])
})

/** The process of ours beside xl on a host. */
function keeperOf ({ folder }: Host, role: 'source' | 'destination'): number {
  const of = (pid: string, file: string) => readFileSync(`/proc/${pid}/${file}`, 'latin1').split('\0')
  const isIt = (pid: string) => {
    try {
      return of(pid, 'cmdline').some((word) => word.endsWith(`/${role}-keeper.js`)) &&
        of(pid, 'environ').includes(`XEN_HOST=${folder}`)
    } catch {
      return false // it has ended
    }
  }
  const found = readdirSync('/proc').filter((name) => /^\d+$/.test(name)).filter(isIt)
  if (found.length !== 1) throw new Error(`${found.length} keepers at ${folder}`)
  return Number(found[0])
}

t.test('what has arrived goes before the commit', { skip }, async (t) => {
  const both = hosts(t)
  writeFileSync(join(both.here.folder, 'hold-go'), '')
  const { source, destination } = await start(t, both)
  while (!('web--migratedaway' in domains(both.here))) await sleep(20)
  process.kill(keeperOf(both.there, 'destination'), 'SIGKILL')
  t.match(await destination.said('failed'), /^failed MACHINE .*web is no more at the destination/)
  rmSync(join(both.here.folder, 'hold-go'))
  await source.ended
  t.match(source.lines.at(-1), /^failed MACHINE source/)
  t.same([domains(both.here), domains(both.there)], [{ web: 'running' }, {}])
})

t.test('the source\'s keeper is killed', { skip }, async (t) => {
  const both = hosts(t)
  writeFileSync(join(both.here.folder, 'hold-memory'), '')
  const { source } = await start(t, both)
  while (!existsSync(join(both.here.folder, 'at-memory'))) await sleep(20)
  process.kill(keeperOf(both.here, 'source'), 'SIGKILL')
  rmSync(join(both.here.folder, 'hold-memory'))
  await source.ended
  t.match(source.lines.at(-1), /^failed MACHINE source/)
  t.same(domains(both.here), { web: 'running' }, 'xl lets it run again')
  while (Object.keys(domains(both.there)).length > 0) await sleep(20)
})

t.test('what xl left suspended is removed where the disk is no more', { skip }, async (t) => {
  const both = hosts(t)
  const { source } = await start(t, both)
  await source.ended
  put(both.here, 'web--migratedaway', { ...kRunning, state: 'suspended' })
  t.equal((await recover(both.here))!.code, 3)
  t.same([domains(both.here), domains(both.there)], [{}, { web: 'running' }])
})

interface Recovered { code: number, token: string | null }

/** What became of a side whose process was killed, the machine included. */
async function recover (host: Host, ...more: string[]): Promise<Recovered | null> {
  const { journal, env } = host
  if (!existsSync(journal)) return null
  const options = ['--journal', journal, '--machine', 'xen:web', '--json', ...more]
  const [program, ...args] = within(host, [kCli, 'recover', ...options])
  return await new Promise((resolve, reject) => {
    execFile(program!, args, { env }, (error, stdout, stderr) => {
      const code = (error as { code?: number } | null)?.code ?? 0
      if (code === 1) return reject(new Error(stderr))
      resolve({ code, token: JSON.parse(stdout).migrations[0]?.token ?? null })
    })
  })
}

/** Looks all the time whether two run. */
function guard (t: Test, both: ReturnType<typeof hosts>) {
  let seen = 0
  const timer = setInterval(() => {
    const states = [both.here, both.there].flatMap((host) => {
      try {
        return Object.values(domains(host))
      } catch {
        return [] // one is being renamed
      }
    })
    seen = Math.max(seen, states.filter((state) => state === 'running').length)
  }, 2)
  t.teardown(() => clearInterval(timer))
  return () => seen
}

const kRounds = 8
/** What the source says, and a time of its own from its start on. */
const kMoments = ['any', 'pause', 'any', 'residual', 'any', 'commit'] as const
t.test('killed at any moment: one runs, where its disk is', { skip }, async (t) => {
  const seed = Date.now() % 2 ** 31
  t.comment(`seed ${seed}`)
  const ends = { here: 0, there: 0 }
  for (let round = 0; round < kRounds; round++) {
    const both = hosts(t)
    const most = guard(t, both)
    const { source, destination } = await start(t, both, { linkTimeout: '1s', memory: 'live' })
    const step = noise(seed + round, 4).readUInt16LE(0)
    const moment = kMoments[step % kMoments.length]!
    if (moment === 'any') await sleep((step >> 4) % 2000)
    else await source.said(moment).catch(() => {})
    await sleep((step >> 4) % 40)
    const [killed, other] = round % 2 === 0 ? [source, destination] : [destination, source]
    await killed.kill()
    await Promise.race([other.ended, sleep(2000)])
    await other.kill()
    const there = await recover(both.there, '--no-ask')
    const token = there?.token
    const here = await recover(both.here, ...(token === null || token === undefined ? ['--no-ask'] : ['--token', token]))
    const words = `seed ${seed}, round ${round}, killed after ${moment}: ` +
      JSON.stringify([domains(both.here), domains(both.there), here, there, source.lines, destination.lines])
    const owner = typeof there?.token === 'string' && there.code === 0 ? 'there' : 'here'
    ends[owner]++
    const expected = owner === 'there' ? [{}, { web: 'running' }] : [{ web: 'running' }, {}]
    if (!t.same([domains(both.here), domains(both.there)], expected, words)) return
    if (!t.ok(most() <= 1, `never two: ${words}`)) return
  }
  t.comment(JSON.stringify(ends))
})
