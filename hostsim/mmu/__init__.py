"""Memory as the host sees it: RAMBlocks, page contents, dirty logs."""
