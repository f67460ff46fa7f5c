// What the others do, too: minify, prefix, and source maps.
export default {
  build: { sourcemap: true },
  css: {
    devSourcemap: true,
    preprocessorOptions: { scss: { silenceDeprecations: ["import"], quietDeps: true } },
  },
};
