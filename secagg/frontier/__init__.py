"""What privacy costs, measured: one federated training for every trust, epsilon, width and seed.

    grid -> cells -> each trained through `secagg.sim` in a process of its own -> a line in a file
         -> tables and plots

Training is the same for all of them: softmax regression, every user in every round, updates of a
norm of at most 1. So what differs between two rows is the noise, and who adds it.
"""
