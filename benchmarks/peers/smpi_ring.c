/* Ring all-reduces, message by message, for SimGrid's SMPI: smpi_ring BYTES ALL_REDUCES.
 *
 * Nothing is added up, since only the clock is compared. Prints the virtual time in seconds.
 */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char *argv[]) {
  MPI_Init(&argc, &argv);
  int rank, nodes;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &nodes);
  int chunk = atoi(argv[1]) / nodes;
  char *out = malloc(chunk), *in = malloc(chunk);
  for (int step = 0; step < atoi(argv[2]) * 2 * (nodes - 1); step++)
    MPI_Sendrecv(out, chunk, MPI_CHAR, (rank + 1) % nodes, 0, in, chunk, MPI_CHAR,
                 (rank + nodes - 1) % nodes, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
  if (rank == 0)
    printf("%.9f\n", MPI_Wtime());
  MPI_Finalize();
  return 0;
}
