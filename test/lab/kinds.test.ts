// redirect() on a stock Debian kernel, with the kinds of tunnels that this host's may lack.
import t from 'tap'

import { tryRun } from '../../bench/support/command.js'
import { missingNeed } from '../hosts/needs.js'
import { missing } from '../network/setting.js'
import { inLab } from './lab.js'

const kKinds = ['wireguard', 'tun', 'gre', 'ipip']

async function missingHere (): Promise<string | false> {
  if (await tryRun('which', 'wg') === undefined) return 'needs wg'
  return await missing() || (await missingNeed() ?? false)
}

t.test('a machine moves with its connections', { skip: await missingHere() }, async (t) => {
  const program = new URL('./programs/kinds.js', import.meta.url).pathname
  const { code, output } = await inLab(`TAP=1 TAP_TIMEOUT=780 '${process.execPath}' '${program}'`)
  for (const kind of kKinds) t.match(output, new RegExp(`^ok \\d+ - ${kind} `, 'm'), kind)
  t.equal(code, 0)
  t.comment(output)
})
