"""What secagg.integrations.nvflare uses of NVFLARE 2.9, recorded: names, arguments, values."""
