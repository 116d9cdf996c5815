declare module 'bindings' {
  export default function bindings (name: string): any
}
