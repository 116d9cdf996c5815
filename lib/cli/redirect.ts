// blockferry redirect: takes a machine's connections along, at one of the two sites.
import { toBlockferryError } from '../base/errors.js'
import { isLoopback } from '../base/loopback.js'
import type { NameService } from '../network/dns/name-service.js'
import { dyndns2 } from '../network/dns/dyndns2.js'
import { rfc2136 } from '../network/dns/rfc2136.js'
import type { RedirectOptions, TunnelOptions } from '../network/redirect/options.js'
import { redirect as makeRedirect, watchRedirect } from '../network/redirect/redirect.js'
import type { Redirect } from '../network/redirect/redirect.js'
import { removeRedirect } from '../network/redirect/remove.js'
import { findRedirect, listRedirects } from '../network/redirect/state.js'
import { kRuntimeFolder } from '../base/runtime-folder.js'
import * as args from './args.js'
import type { Command, Values } from './command.js'
import { UsageError } from './usage-error.js'
import { exitCodeOf, kExit } from './exit-codes.js'
import { Interrupt } from './interrupt.js'
import type { Output } from './output.js'
import { redirectEventText, redirectText } from './redirect-text.js'
import { kTlsHelp, kTlsOptions, rejectBoth, tls } from './tls-args.js'

export const redirect: Command = {
  name: 'redirect',
  summary: 'take a machine\'s connections along when its address changes',
  help: `Usage: blockferry redirect --role new --address IP … --device DEVICE --local IP
                           --remote IP [--new-address IP …] [OPTION …]
       blockferry redirect --role old --address IP … --device DEVICE --local IP
                           --remote IP [OPTION …]
       blockferry redirect --list | --remove ID | --watch ID

One at each site, the new one first. Each checks what it can and prepares, and the old site tries
the tunnel; then it waits for a line on its standard input (or, with --now, does not): move the
machine, and give both that line. From then on packets for the machine's address go from the old
site through a tunnel to the new one, connections that were open go on, and the machine can be
reached at its new address, too. It ends when the tunnel has gone. Killed, it leaves everything in
place: --list shows it, --watch goes on, --remove removes it.

  --role old|new         which site this is
  --address IP           the address that the machine has (repeatable: one IPv4, one IPv6)
  --device DEVICE        where the machine is: its bridge, or its tap device
  --local IP             this host's address, for the tunnel
  --remote IP            that of the other site's host
  --tunnel KIND          vxlan, gre, ipip, wireguard, or tun: TCP through this process (default: the
                         first that the kernel has; else tun, if one of the next is given)
${kTlsHelp}
  --port PORT            UDP port of vxlan and wireguard, TCP port of tun
  --mtu BYTES            of packets inside the tunnel (default: what fits)
  --private-key PATH     for wireguard: the file with this site's key
  --peer-key KEY         for wireguard: the other site's public key
  --new-address IP       new site: where new clients find it (repeatable)
  --by nat|guest         new site: translate here, or the machine has the new address itself
  --uplink DEVICE        new site: where the new address belongs (default: towards the old site)
  --gateway IP           new site: a router that the machine knows (repeatable)
  --quiet TIME           old site: the tunnel goes when no connection has used it for so long
                         (default 15m)
  --deadline TIME        the tunnel goes after that anyway (default 24h)
  --dns-name NAME        at one of the sites: the machine's name, which gets
  --dns-address IP       these addresses (default: those of --new-address), from
  --dns-server IP:PORT   a name server that takes updates by RFC 2136, signed with
  --dns-key PATH         the TSIG key in this file, in
  --dns-zone ZONE        this zone (default: what nsupdate finds); or from
  --dns-url URL          a service that speaks dyndns2, as
  --dns-user USER        this user, with
  --dns-password PATH    the password in this file
  --now                  switch over at once; with --watch: one that was only prepared, too
  --state FOLDER         where the state is kept (default ${kRuntimeFolder})
  --json                 events on stdout, one JSON object a line

Both hosts must forward packets (sysctl net.ipv4.ip_forward=1), and let the tunnel's packets pass
between them. It takes root, iproute2, nftables and conntrack.
Exit codes: 0 done; 1 failed, nothing is left; 2 wrong arguments; 3 the machine's packets go the new
way, but something failed; 130 taken back by a signal before the switchover.`,
  options: {
    role: { type: 'string' },
    address: { type: 'string', multiple: true },
    device: { type: 'string' },
    local: { type: 'string' },
    remote: { type: 'string' },
    tunnel: { type: 'string' },
    port: { type: 'string' },
    mtu: { type: 'string' },
    ...kTlsOptions,
    'private-key': { type: 'string' },
    'peer-key': { type: 'string' },
    'new-address': { type: 'string', multiple: true },
    by: { type: 'string' },
    uplink: { type: 'string' },
    gateway: { type: 'string', multiple: true },
    quiet: { type: 'string' },
    deadline: { type: 'string' },
    'dns-name': { type: 'string' },
    'dns-address': { type: 'string', multiple: true },
    'dns-server': { type: 'string' },
    'dns-key': { type: 'string' },
    'dns-zone': { type: 'string' },
    'dns-url': { type: 'string' },
    'dns-user': { type: 'string' },
    'dns-password': { type: 'string' },
    now: { type: 'boolean' },
    state: { type: 'string' },
    list: { type: 'boolean' },
    remove: { type: 'string' },
    watch: { type: 'string' }
  },
  run
}

async function run (values: Values, output: Output): Promise<number> {
  const folder = args.text(values, 'state') ?? kRuntimeFolder
  if (args.flag(values, 'list')) return await list(folder, output)
  const [remove, watch] = [args.text(values, 'remove'), args.text(values, 'watch')]
  if (remove !== undefined) return await removeOne(folder, remove, values, output)
  if (watch !== undefined) {
    const state = await findRedirect(folder, watch, args.text(values, 'role'))
    const switchOver = args.flag(values, 'now')
    return await lookAfter(await watchRedirect(state, folder, { switchOver }), output)
  }
  return await redirectHere(args.checked(() => makeRedirect(optionsOf(values))), values, output)
}

async function list (folder: string, output: Output): Promise<number> {
  const redirects = await listRedirects(folder)
  output.event({ event: 'redirects', redirects } as { event: string })
  output.line(redirects.map(redirectText).join('\n') || 'no redirection here')
  return kExit.done
}

async function removeOne (
  folder: string, id: string, values: Values, output: Output
): Promise<number> {
  const state = await findRedirect(folder, id, args.text(values, 'role'))
  await removeRedirect(state, folder)
  output.event({ event: 'removed', id } as { event: string })
  output.line(`redirection ${id} is removed`)
  return kExit.done
}

async function redirectHere (site: Redirect, values: Values, output: Output): Promise<number> {
  let switching = false
  let cancel = () => {}
  const cancelled = new Promise<'cancelled'>((resolve) => { cancel = () => resolve('cancelled') })
  const interrupt = new Interrupt(['SIGINT', 'SIGTERM', 'SIGHUP'], () => {
    if (switching) site.close()
    else cancel()
  })
  // Without a standard input it waits for a signal.
  const alive = setInterval(() => {}, 2 ** 30)
  void tell(site, output)
  try {
    await site.prepare()
    await site.verify()
    output.event({ event: 'ready', id: site.id } as { event: string })
    output.note('press Enter when the machine has moved')
    const line = args.flag(values, 'now') ? Promise.resolve() : nextLine()
    if (await Promise.race([cancelled, line]) === 'cancelled') {
      await site.undo()
      return kExit.interrupted
    }
    switching = true
    const failed = await site.switchOver().then(() => null, (thrown) => toBlockferryError(thrown))
    if (failed !== null) output.failed(failed, 'redirect')
    await site.ended
    return failed === null ? kExit.done : exitCodeOf(failed)
  } catch (error) {
    if (!switching) await site.undo()
    throw error
  } finally {
    clearInterval(alive)
    interrupt.stop()
    process.stdin.pause()
  }
}

async function lookAfter (site: Redirect, output: Output): Promise<number> {
  const interrupt = new Interrupt(['SIGINT', 'SIGTERM', 'SIGHUP'], () => site.close())
  void tell(site, output)
  await site.ended
  interrupt.stop()
  return kExit.done
}

function nextLine (): Promise<void> {
  return new Promise((resolve) => { process.stdin.once('data', () => resolve()) })
}

async function tell (site: Redirect, output: Output): Promise<void> {
  for await (const event of site) {
    output.event(event)
    output.note(redirectEventText(event))
  }
}

/** INVALID and UsageError for what makes no sense. */
function optionsOf (values: Values): RedirectOptions {
  const text = (name: string) => args.text(values, name)
  const given = (key: string, value: unknown) => value === undefined ? {} : { [key]: value }
  const number = (name: string) => {
    const value = text(name)
    return value === undefined ? undefined : args.integer(`--${name}`, value, 1, 65_535)
  }
  const list = (name: string) => {
    const all = args.texts(values, name)
    return all.length === 0 ? undefined : all
  }
  const dns = nameService(values)
  return {
    role: args.oneOf('--role', args.required(values, 'role'), ['old', 'new']),
    address: args.texts(values, 'address'),
    device: args.required(values, 'device'),
    tunnel: {
      local: args.required(values, 'local'),
      remote: args.required(values, 'remote'),
      ...given('kind', text('tunnel')),
      ...given('port', number('port')),
      ...given('mtu', number('mtu')),
      ...wireguard(text('private-key'), text('peer-key')),
      ...tunnelTls(values)
    },
    ...given('newAddress', list('new-address')),
    ...given('by', text('by')),
    ...given('uplink', text('uplink')),
    ...given('gateway', list('gateway')),
    ...given('quiet', text('quiet')),
    ...given('deadline', text('deadline')),
    ...given('runtimeFolder', text('state')),
    ...given('dns', dns)
  }
}

/** As redirect() asks for it, in the words of the options. */
function tunnelTls (values: Values): Pick<TunnelOptions, 'tls'> {
  rejectBoth(values)
  const found = tls(values)
  const isBare = found.tls === undefined && !isLoopback(args.required(values, 'remote'))
  if (args.text(values, 'tunnel') === 'tun' && isBare) {
    throw new UsageError('--tunnel: tun needs --tls-psk or --tls-cert, or --plain')
  }
  return found
}

function wireguard (privateKey?: string, peerKey?: string): Partial<TunnelOptions> {
  if (privateKey === undefined && peerKey === undefined) return {}
  if (privateKey === undefined) throw new UsageError('--private-key: is needed with --peer-key')
  if (peerKey === undefined) throw new UsageError('--peer-key: is needed with --private-key')
  return { wireguard: { privateKey, peerKey } }
}

function nameService (values: Values): NameService | undefined {
  const name = args.text(values, 'dns-name')
  if (name === undefined) return undefined
  const named = args.texts(values, 'dns-address')
  const address = named.length > 0 ? named : args.texts(values, 'new-address')
  const url = args.text(values, 'dns-url')
  if (url !== undefined) {
    return dyndns2({
      name,
      address,
      url,
      user: args.required(values, 'dns-user'),
      passwordFile: args.required(values, 'dns-password')
    })
  }
  const [zone, keyFile] = [args.text(values, 'dns-zone'), args.text(values, 'dns-key')]
  return rfc2136({
    name,
    address,
    server: args.required(values, 'dns-server'),
    ...(zone !== undefined && { zone }),
    ...(keyFile !== undefined && { keyFile })
  })
}
