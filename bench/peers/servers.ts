// The NBD servers that others have, each as a command line that serves one raw disk: over TCP as
// the default export, on a Unix socket as `disk`.

/** A TCP host and port, or a Unix socket. */
export type ServerAddress =
  | { readonly host: string, readonly port: number }
  | { readonly socket: string }

/** nbdkit's file plugin. */
export function nbdkit (address: ServerAddress, disk: string): string[] {
  const listen =
    'socket' in address ? ['-U', address.socket] : ['-i', address.host, '-p', String(address.port)]
  return ['nbdkit', '--foreground', ...listen, 'file', disk]
}

/** The same over TLS only, for whoever has the pre-shared key in this file. */
export function nbdkitOverTls (keyFile: string): (address: ServerAddress, disk: string) => string[] {
  return (address, disk) => {
    const [command = '', ...args] = nbdkit(address, disk)
    return [command, '--tls=require', `--tls-psk=${keyFile}`, ...args]
  }
}

/** qemu-nbd with a write-back cache, discards passed on, and room for several connections. */
export function qemuNbd (address: ServerAddress, disk: string): string[] {
  const listen =
    'socket' in address
      ? ['--export-name=disk', '-k', address.socket]
      : ['-b', address.host, '-p', String(address.port)]
  const options = ['--format=raw', '--cache=writeback', '--discard=unmap', '--shared=16']
  return ['qemu-nbd', '--persistent', ...options, ...listen, disk]
}
