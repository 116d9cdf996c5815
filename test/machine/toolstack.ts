// Stands in for Xen's programs where there is no Xen: domains are files in the folder XEN_HOST, and say
// what they do. It keeps to what the real ones say to each other, and to when they let a domain run.
// `hold-STEP` in that folder holds it at a step, and `at-STEP` says that it is there.
//
//   toolstack.js PROGRAM ARGUMENTS …
import { spawn } from 'node:child_process'
import { createReadStream, createWriteStream, existsSync, readdirSync, readFileSync, renameSync, rmSync, watch, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Readable, Writable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'

interface Domain { id: number, state: 'running' | 'paused' | 'suspended', memory: string }

const kBanner = 'xl migration receiver ready, send binary domain data.\n'
const kReady = 'domain received, ready to unpause\0'
const kGo = 'domain is yours, you are cleared to unpause\0'
const kReport = 'my copy unpause results are as follows\0'
const kLetters = { running: 'r-----', paused: '--p---', suspended: '---s--' }

const host = process.env['XEN_HOST']!
/** What a test has put into the file `settings` there. */
const settings = { events: true, disks: 1, backend: 'vbd', free: 512, caps: 'pv hap shadow', commandLine: 'dom0_mem=512M', refusal: '', ...given() }

function given (): object {
  try {
    return JSON.parse(readFileSync(join(host, 'settings'), 'utf8'))
  } catch {
    return {}
  }
}

const pathOf = (name: string) => join(host, `domain-${name}`)
const load = (name: string): Domain => JSON.parse(readFileSync(pathOf(name), 'utf8'))

function save (name: string, domain: Domain): void {
  writeFileSync(`${pathOf(name)}~`, JSON.stringify(domain))
  renameSync(`${pathOf(name)}~`, pathOf(name))
}

function become (name: string, state: Domain['state']): void {
  save(name, { ...load(name), state })
}

function names (): string[] {
  return readdirSync(host).filter((name) => /^domain-[^~]+$/.test(name)).map((name) => name.slice('domain-'.length))
}

/** Says so when a domain is suspended, or is no more. */
function watchReleases (): void {
  const active = () => new Set(names().filter((name) => load(name).state !== 'suspended').map((name) => load(name).id))
  let before = new Set<number>()
  const look = () => {
    try {
      const now = active()
      if (settings.events && [...before].some((id) => !now.has(id))) console.log('@releaseDomain')
      before = now
    } catch {} // one is being changed: it is looked at again
  }
  console.log('@releaseDomain') // as at each registration
  look()
  watch(host, look)
  // Whoever was killed reads no more of it.
  const parent = process.ppid
  setInterval(() => { if (process.ppid !== parent) process.exit() }, 500)
}

/** By name or number. */
const nameOf = (which: string) => names().find((name) => name === which || load(name).id === Number(which))

function list (args: string[]): void {
  if (args[0] === '-l') {
    const config = { c_info: { type: 'pvh' }, disks: Array(settings.disks).fill({ vdev: 'xvda' }) }
    return void process.stdout.write(JSON.stringify([{ domid: Number(args[1]), config }]))
  }
  console.log('Name ID Mem VCPUs State Time(s) UUID Reason-Code Security Label')
  for (const name of names()) {
    const { id, state } = load(name)
    console.log(`${name}  ${id}  64  1  ${kLetters[state]}  1.0  0-0-0  ${state === 'suspended' ? 2 : '-'}  -`)
  }
}

async function reached (step: string): Promise<void> {
  if (existsSync(join(host, `hold-${step}`))) writeFileSync(join(host, `at-${step}`), '')
  while (existsSync(join(host, `hold-${step}`))) await sleep(20)
}

class Reader {
  readonly #pieces: AsyncIterator<Buffer>
  #bytes = Buffer.alloc(0)

  constructor (from: Readable) {
    this.#pieces = from[Symbol.asyncIterator]()
  }

  /** So many bytes, or '' when the stream ends before. */
  async read (size: number): Promise<string> {
    while (this.#bytes.length < size) {
      const next = await this.#pieces.next().catch(() => ({ done: true as const, value: undefined }))
      if (next.done === true) return ''
      this.#bytes = Buffer.concat([this.#bytes, next.value])
    }
    const text = this.#bytes.toString('latin1', 0, size)
    this.#bytes = this.#bytes.subarray(size)
    return text
  }
}

async function write (to: Writable, text: string): Promise<boolean> {
  return await new Promise((resolve) => { to.write(text, 'latin1', (error) => resolve(!error)) })
}

/** The size of what follows, and that: half of it while the domain runs. */
async function sendMemory (name: string, to: Writable, isLive: boolean): Promise<boolean> {
  const { memory } = load(name)
  const half = memory.length >> 1
  const header = `${name.padEnd(32)}${String(memory.length).padEnd(16)}`
  if (!isLive) become(name, 'suspended')
  if (!await write(to, header + memory.slice(0, half))) return false
  await reached('memory')
  become(name, 'suspended')
  return await write(to, memory.slice(half))
}

async function receiveMemory (from: Reader): Promise<{ name: string, memory: string } | null> {
  const header = await from.read(48)
  if (header === '') return null
  const memory = await from.read(Number(header.slice(32)))
  return memory === '' ? null : { name: header.slice(0, 32).trim(), memory }
}

async function migrate (name: string, rune: string): Promise<number> {
  const way = spawn('sh', ['-c', rune], { stdio: ['pipe', 'pipe', 'inherit'] })
  way.stdin.on('error', () => {})
  const answers = new Reader(way.stdout)
  if (await answers.read(kBanner.length) !== kBanner) return 1
  const resumed = (words: string): number => {
    console.error(words)
    become(name, 'running')
    return 1
  }
  if (!await sendMemory(name, way.stdin, true)) return resumed('libxl_domain_suspend failed')
  if (await answers.read(kReady.length) !== kReady) return resumed('no ready message')
  const away = `${name}--migratedaway`
  renameSync(pathOf(name), pathOf(away))
  await reached('go')
  if (!await write(way.stdin, kGo)) return undefinedState()
  const report = await answers.read(kReport.length + 1)
  if (report.slice(0, -1) !== kReport) return undefinedState()
  if (report.endsWith('\0')) {
    rmSync(pathOf(away))
    return 0
  }
  if (await answers.read(kGo.length) !== kGo) return undefinedState()
  renameSync(pathOf(away), pathOf(name))
  return resumed('resumed')
}

function undefinedState (): number {
  console.error('Domain state is now undefined')
  return 1
}

async function migrateReceive (): Promise<number> {
  await write(process.stdout, kBanner)
  const input = new Reader(process.stdin)
  const received = await receiveMemory(input)
  if (received === null) return 1
  const { name, memory } = received
  if (settings.refusal !== '') return refused()
  const incoming = `${name}--incoming`
  save(incoming, { id: 7, state: 'paused', memory })
  await reached('ready')
  await write(process.stdout, kReady)
  const isGo = await input.read(kGo.length) === kGo
  if (isGo) {
    renameSync(pathOf(incoming), pathOf(name))
    become(name, 'running')
  } else {
    rmSync(pathOf(incoming))
  }
  await write(process.stdout, `${kReport}${isGo ? '\0' : '\x01'}`)
  return isGo ? 0 : 1
}

/** The hypervisor makes no such domain. */
function refused (): number {
  console.error(settings.refusal)
  return 1
}

async function saveCold (name: string, path: string): Promise<number> {
  const to = createWriteStream(path)
  const isSent = await sendMemory(name, to.on('error', () => {}), false)
  to.end()
  become(name, isSent ? 'paused' : 'running')
  return isSent ? 0 : 1
}

async function restoreCold (path: string): Promise<number> {
  const received = await receiveMemory(new Reader(createReadStream(path)))
  if (received === null) return 1
  if (settings.refusal !== '') return refused()
  save(received.name, { id: 8, state: 'paused', memory: received.memory })
  return 0
}

async function xl ([command, ...args]: string[]): Promise<number> {
  switch (command) {
    case 'list': list(args.filter((arg) => arg !== '-v')); return 0
    case 'info': console.log(`xen_version : 4.17\nvirt_caps : ${settings.caps}\nfree_memory : ${settings.free}\nxen_commandline : ${settings.commandLine}`); return 0
    case 'migrate': return await migrate(args[2]!, args[3]!)
    case 'migrate-receive': return await migrateReceive()
    case 'save': return await saveCold(args[1]!, args[2]!)
    case 'restore': return await restoreCold(args[1]!)
    case 'unpause': become(nameOf(args[0]!)!, 'running'); return 0
    case 'destroy': rmSync(pathOf(nameOf(args[0]!)!)); return 0
    case 'rename': renameSync(pathOf(args[0]!), pathOf(args[1]!)); return 0
    default: console.error(`no ${command}`); return 1
  }
}

const [program, ...args] = process.argv.slice(2) as [string, ...string[]]
if (program === 'xl') process.exit(await xl(args))
if (program === 'xenstore-ls') console.log(`/local/domain/0/backend/${settings.backend}/3/51712 = ""`)
if (program === 'xenstore-watch') watchReleases()
