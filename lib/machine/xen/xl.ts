// Xen's toolstack by its programs: xl and xenstore-*.
import { setTimeout as sleep } from 'node:timers/promises'

import { BlockferryError } from '../../base/errors.js'
import { execute } from '../../base/external-tool.js'

export interface Domain {
  id: number
  name: string
  /** Bytes. */
  memory: number
  /** xl's letters: r running, b blocked, p paused, s shut down, c crashed, d dying. */
  state: string
  /** Why it was shut down; 'suspend' for a move. */
  reason: 'suspend' | 'other' | null
}

const kSuspended = 2
const kWaitMs = 60_000
const kResumeMs = 10_000
const kLookMs = 200

export function refuse (words: string, cause?: unknown): BlockferryError {
  return new BlockferryError('MACHINE', `Xen domain: ${words}`, cause === undefined ? {} : { cause })
}

/** Runs xl; MACHINE with its own words when it fails. */
export async function xl (...args: string[]): Promise<string> {
  return await tool('xl', args)
}

async function tool (program: string, args: string[]): Promise<string> {
  const ran = execute(program, args, { timeoutMs: kWaitMs })
  const { code, stdout, stderr } = await ran.catch((error: BlockferryError) => {
    if (error.code === 'UNSUPPORTED') throw refuse(`there is no ${program} here: this is no Xen host`, error)
    throw refuse(error.message, error)
  })
  if (code === 0) return stdout
  throw refuse(`${program} ${args[0]}: ${lastWords(stderr) || `ended with ${code ?? 'a signal'}`}`)
}

/** What a program has said at its end, on one line. */
export function lastWords (text: string): string {
  return text.trim().split('\n').slice(-3).join('; ')
}

/** By name or number; null when there is none. */
export async function findDomain (which: string | number): Promise<Domain | null> {
  const domains = (await xl('list', '-v')).split('\n').slice(1).map(parseDomain)
  return domains.find((domain) => domain?.name === which || domain?.id === which) ?? null
}

/** MACHINE when it does not. */
export async function runningDomain (name: string): Promise<Domain> {
  const domain = await findDomain(name)
  if (domain === null) throw refuse(`there is no ${name}`)
  if (/[pscd]/.test(domain.state)) throw refuse(`${name} does not run: its state is ${domain.state}`)
  return domain
}

/** The same, after xl was told to let it run: it may not be there yet. */
export async function untilRuns (name: string): Promise<void> {
  const until = Date.now() + kResumeMs
  for (;;) {
    try {
      await runningDomain(name)
      return
    } catch (error) {
      if (Date.now() > until) throw error
    }
    await sleep(kLookMs)
  }
}

// Name ID Mem VCPUs State Time(s) UUID Reason-Code Security-Label
function parseDomain (line: string): Domain | null {
  const found = /^(\S+)\s+(\d+)\s+(\d+)\s+\d+\s+(\S{6})\s+\S+\s+\S+\s+(\S+)/.exec(line)
  if (found === null) return null
  const [, name, id, mebibytes, state, code] = found as unknown as string[]
  return {
    name: name!,
    id: Number(id),
    memory: Number(mebibytes) * 2 ** 20,
    state: state!,
    reason: !state!.includes('s') ? null : Number(code) === kSuspended ? 'suspend' : 'other'
  }
}

/** `xl info` as it is: names and values. */
export async function hostInfo (): Promise<Map<string, string>> {
  const pairs = (await xl('info')).split('\n').map((line) => /^(\w+)\s*:\s*(.*)$/.exec(line))
  return new Map(pairs.flatMap((pair) => pair === null ? [] : [[pair[1]!, pair[2]!] as const]))
}

export type DomainType = 'pv' | 'pvh' | 'hvm'

/** What xl would make the domain of. */
export async function configOf (id: number): Promise<{ type: DomainType, disks: string[] }> {
  const [found] = JSON.parse(await xl('list', '-l', String(id)))
  const { c_info: { type }, disks = [] } = found?.config ?? { c_info: {} }
  if (type === undefined) throw refuse('xl has no configuration of it')
  return { type, disks: disks.map(({ vdev }: { vdev: string }) => vdev) }
}

/** The names of what serves the domain's disks: 'vbd' is the kernel, 'qdisk' QEMU. */
export async function backendsOf (id: number): Promise<string[]> {
  const entries = await tool('xenstore-ls', ['-f', '/local/domain/0/backend']).catch(() => '')
  const found = [...entries.matchAll(/^\/local\/domain\/0\/backend\/(\w+)\/(\d+)\/\d+ =/gm)]
  return [...new Set(found.filter(([, , of]) => Number(of) === id).map(([, kind]) => kind!))]
}
