// A function without a body takes an assembly file in its package.
