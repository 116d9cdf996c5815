// Runs nsupdate, which signs with the key in its file (TSIG): no secret is on a command line.
import { access, constants } from 'node:fs/promises'

import { BlockferryError } from '../../base/errors.js'
import { execute } from '../../base/external-tool.js'

export interface UpdateServer {
  host: string
  port: number
  zone: string | null
  keyFile: string | null
  timeoutMs: number
}

const kUnreachable = /connection refused|host unreachable|network unreachable|could not reach/i
const kTimedOut = /timed out|timeout/i

/** One update, made whole or not at all. NETWORK with the server's words, UNREACHABLE, TIMEOUT;
 * UNSUPPORTED without nsupdate. */
export async function update (server: UpdateServer, lines: readonly string[]): Promise<void> {
  const { host, port, zone, keyFile, timeoutMs } = server
  if (keyFile !== null) await checkKey(keyFile)
  const script = [
    `server ${host} ${port}`, ...(zone === null ? [] : [`zone ${zone}`]), ...lines, 'send', ''
  ].join('\n')
  const seconds = String(Math.max(1, Math.ceil(timeoutMs / 1000)))
  const key = keyFile === null ? [] : ['-k', keyFile]
  const args = [...key, '-t', seconds, '-u', seconds, '-r', '0']
  const { code, stdout, stderr } = await execute(
    'nsupdate', args, { input: script, timeoutMs: 2 * timeoutMs + 1000 })
  if (code !== 0) throw refusal(`${host}:${port}`, `${stderr}${stdout}`)
}

async function checkKey (keyFile: string): Promise<void> {
  await access(keyFile, constants.R_OK).catch((cause: NodeJS.ErrnoException) => {
    const words = `dns: the key in ${keyFile} can't be read: ${cause.code}`
    throw new BlockferryError('NETWORK', words, { cause })
  })
}

function refusal (where: string, said: string): BlockferryError {
  const words = said.trim().replace(/\s*\n\s*/g, '; ')
  if (kTimedOut.test(said)) {
    return new BlockferryError('TIMEOUT', `dns: ${where} does not answer in time`)
  }
  if (kUnreachable.test(said)) return new BlockferryError('UNREACHABLE', `dns: ${where}: ${words}`)
  const reason = `${words}${meaning(said)}`
  return new BlockferryError('NETWORK', `dns: ${where} refuses the update: ${reason}`)
}

function meaning (said: string): string {
  if (/BADKEY/.test(said)) return ' (it does not know this key)'
  if (/BADSIG/.test(said)) return ' (the secret of the key is another one there)'
  if (/BADTIME/.test(said)) return ' (the clocks differ)'
  if (/REFUSED/.test(said)) return ' (this key, or this host, may not change the zone)'
  if (/NOTAUTH|NOTZONE/.test(said)) return ' (it is not the primary server of that zone)'
  return ''
}
