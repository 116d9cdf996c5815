// The choice among the kinds of tunnels.
import { BlockferryError } from '../../base/errors.js'
import { execute } from '../../base/external-tool.js'
import { failure } from '../command.js'
import type { Family } from '../ip.js'
import type { TunnelBackend, TunnelKind, TunnelSpec } from './backend.js'
import { gre } from './gre.js'
import { ipip } from './ipip.js'
import { tun } from './tun.js'
import { vxlan } from './vxlan.js'
import { wireguard } from './wireguard.js'

const kKinds: Record<TunnelKind, TunnelBackend> = { vxlan, ipip, gre, wireguard, tun }

export const kTunnelKinds = Object.keys(kKinds) as TunnelKind[]

/** Those that need no keys of their own, the best first; what the kernel has before tun. */
const kAutomatic: readonly TunnelKind[] = ['vxlan', 'gre', 'ipip', 'tun']

/**
 * The kind that was asked for, or with 'auto' the first that can do it (wireguard, which encrypts,
 * if there are keys for it). The kernel is asked in a network namespace that goes away at once.
 *
 * Errors: UNSUPPORTED when the kernel lacks it, NO_PERMISSION.
 */
export async function chooseTunnel (
  kind: TunnelKind | 'auto', spec: TunnelSpec, families: readonly Family[]
): Promise<TunnelBackend> {
  if (kind !== 'auto') return await checked(kKinds[kind], spec, families)
  const kinds = spec.wireguard === null ? kAutomatic : ['wireguard' as const, ...kAutomatic]
  const reasons: string[] = []
  for (const name of kinds) {
    try {
      return await checked(kKinds[name], spec, families)
    } catch (error) {
      if ((error as BlockferryError).code !== 'UNSUPPORTED') throw error
      reasons.push((error as Error).message)
    }
  }
  const all = reasons.join('; ')
  throw new BlockferryError('UNSUPPORTED', `no kind of tunnel can be had here: ${all}`)
}

async function checked (
  backend: TunnelBackend, spec: TunnelSpec, families: readonly Family[]
): Promise<TunnelBackend> {
  const refusal = backend.refuses(spec, families)
  if (refusal !== null) throw new BlockferryError('UNSUPPORTED', `${backend.kind}: ${refusal}`)
  const args = ['--net', 'ip', ...backend.make(spec, 'probe')]
  const { code, stderr } = await execute('unshare', args)
  if (code === 0) return backend
  if (/unknown device type|not supported|no such (file|device)/i.test(stderr)) {
    const words = `this kernel has no tunnels of the kind ${backend.kind}`
    throw new BlockferryError('UNSUPPORTED', words)
  }
  throw failure(`a tunnel of the kind ${backend.kind}`, stderr)
}
