/** 'HOST:PORT', with brackets around an IPv6 address. */
export function hostPortText ({ host, port }: { host: string, port: number }): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`
}
