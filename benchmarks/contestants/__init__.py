"""Who is raced by `secateur bench peers`: our engine, the bare runtimes under it, and peers."""
