{
  "targets": [
    {
      "target_name": "blockferry",
      "dependencies": ["<!(node -p \"require('node-addon-api').targets\"):node_addon_api_except_all"],
      "sources": [
        "native/addon.cc",
        "<!@(node -p \"require('fs').readdirSync('native/core').concat(require('fs').readdirSync('native/node').map(n => '../node/' + n)).filter(n => n.endsWith('.cc')).map(n => 'native/core/' + n).join(' ')\")"
      ],
      "defines": ["NAPI_VERSION=9", "NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS"],
      "cflags_cc": ["-std=c++20", "-O2", "-Wall", "-Wextra"],
      "cflags_cc!": ["-std=gnu++17", "-std=gnu++20"],
      "libraries": ["<!@(pkg-config --libs libxxhash libzstd)"],
      "include_dirs": [],
      "conditions": [
        ["'<!(pkg-config --exists liburing && echo yes || echo no)' == 'yes'", {
          "defines": ["BLOCKFERRY_HAVE_LIBURING"],
          "libraries": ["<!@(pkg-config --libs liburing)"]
        }],
        ["'<!(pkg-config --exists gnutls && echo yes || echo no)' == 'yes'", {
          "defines": ["BLOCKFERRY_HAVE_GNUTLS"],
          "libraries": ["<!@(pkg-config --libs gnutls)"]
        }],
        ["'<!(node scripts/build-bpf.mjs)' == 'yes'", {
          "defines": ["BLOCKFERRY_HAVE_BPF"],
          "include_dirs": ["native/build/bpf"],
          "libraries": ["<!@(pkg-config --libs libbpf)"]
        }],
        ["'<!(pkg-config --exists devmapper && echo yes || echo no)' == 'yes'", {
          "dependencies": ["blockferry-watchdog"],
          "defines": ["BLOCKFERRY_HAVE_DM"],
          "libraries": ["<!@(pkg-config --libs devmapper)"]
        }]
      ]
    }
  ],
  "conditions": [
    ["'<!(pkg-config --exists devmapper && echo yes || echo no)' == 'yes'", {
      "targets": [
        {
          "target_name": "blockferry-watchdog",
          "type": "executable",
          "sources": [
            "native/watchdog/main.cc",
            "native/core/dm_watchdog.cc",
            "native/core/dm_delay.cc",
            "native/core/dm_device.cc",
            "native/core/status.cc"
          ],
          "defines": ["BLOCKFERRY_HAVE_DM"],
          "cflags_cc": ["-std=c++20", "-O2", "-Wall", "-Wextra"],
          "cflags_cc!": ["-std=gnu++17", "-std=gnu++20"],
          "libraries": ["<!@(pkg-config --libs devmapper)"]
        }
      ]
    }]
  ]
}
