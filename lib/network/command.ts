// Runs the system's tools of the network (ip, nft, conntrack, nsupdate …); what goes wrong is an error that says which
// tool and why.
import { BlockferryError } from '../base/errors.js'
import type { CommandOptions } from '../base/external-tool.js'
import { execute } from '../base/external-tool.js'

const kForbidden = /operation not permitted|permission denied|must be root|you must be/i

/** Runs a tool that has to succeed, and answers its output. NETWORK with what it said, or
 * NO_PERMISSION. */
export async function run (
  program: string, args: readonly string[], options: CommandOptions = {}
): Promise<string> {
  const { code, stdout, stderr } = await execute(program, args, options)
  if (code !== 0) {
    const said = stderr || stdout || `ended with ${code ?? 'a signal'}`
    throw failure(`${program} ${args.join(' ')}`, said)
  }
  return stdout
}

/** The error for what a tool said. */
export function failure (what: string, said: string): BlockferryError {
  const words = said.trim().split('\n').slice(0, 3).join('; ')
  if (kForbidden.test(said)) {
    return new BlockferryError('NO_PERMISSION', `${what}: ${words} (CAP_NET_ADMIN is needed)`)
  }
  return new BlockferryError('NETWORK', `${what}: ${words}`)
}
