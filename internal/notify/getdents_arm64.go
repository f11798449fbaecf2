package notify

// There is no getdents in arm64's own table.
const getdents = 0
